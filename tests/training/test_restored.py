"""A checkpoint of somebody else's, from which a training is to go on."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch


def many() -> list[Any]:
    """10¹³ values in a few bytes."""
    values: list[Any] = ["x"] * 10
    for _ in range(12):
        values = [values] * 10
    return values


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a moment of another shape": (
        lambda c: c["optimizer_states"][0]["state"][0].update(exp_avg=torch.zeros(3)),
        r"optimizer_states\.state\[0\]\.exp_avg is of another kind",
    ),
    "values without end": (lambda c: c["optimizer_states"][0].update(state=many()), "it holds over 1,000,000 values"),
    "a rate that is a text": (
        lambda c: c["optimizer_states"][0]["param_groups"][0].update(lr="a"),
        r"param_groups\[0\]\.lr is of another kind",
    ),
    "a parameter that is not there": (lambda c: c["optimizer_states"][0]["state"].update({999: {}}), r"state\[999\]"),
    "a method of the schedule": (lambda c: c["lr_schedulers"][0].update(step=1), r"lr_schedulers\[0\]\.step is of"),
    "a counter that is a text": (
        lambda c: c["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"].update(ready="a"),
        r"batch_progress\.current\.ready is of another kind",
    ),
    "a callback that is a number": (
        lambda c: c.update(callbacks=dict.fromkeys(c["callbacks"], 3)),
        "callbacks.*kind",
    ),
    "no weight": (lambda c: c["state_dict"].popitem(), "the weights are not those of"),
    "no average": (lambda c: c["current_model_state"].popitem(), "the weights are not those of"),
    "a number of updates that is a text": (
        lambda c: c["averaging_state"].update(n_averaged="x"),
        r"averaging_state\.n_averaged",
    ),
    "of no version": (lambda c: c.update({"pytorch-lightning_version": "abc"}), "written by Lightning abc"),
    "of version 1": (lambda c: c.update({"pytorch-lightning_version": "1.9.0"}), "written by Lightning 1.9.0"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_of_another_kind_is_refused(change: str, trained: Path, call: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    content = torch.load(trained / "checkpoints" / "step_0000006.ckpt", weights_only=True)
    CHANGES[change][0](content)
    for path in (run / "checkpoints").iterdir():
        path.unlink()
    torch.save(content, run / "checkpoints" / "step_0000006.ckpt")
    ended = call("train", f"resume={run}", "trainer.max_steps=7", cwd=tmp_path, check=False)
    line = ended.err.splitlines()[-1]
    assert ended.status == 2
    assert re.search(CHANGES[change][1], line), line
