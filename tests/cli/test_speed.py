"""`speed=fast`: the same files as ever. Inductor, and NCSN, which take longer to compile, have tests of their own."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

pytestmark = pytest.mark.slow
Command = Callable[..., Any]

SHORT = ["noise.num_levels=2", "trainer.max_steps=3", "trainer.limit_val_batches=0"]
DRAW = ["trainer.accelerator=cpu", "trainer.devices=1", "num_samples=4", "sampler.steps_per_level=1"]


@pytest.fixture(scope="module", autouse=True)
def _without_inductor() -> Iterator[None]:
    """Traced, but run by PyTorch's own operations; and in bfloat16 on any machine."""
    compile = nn.Module.compile
    torch.compiler.reset()
    with pytest.MonkeyPatch.context() as patch:
        form = {"backend": "eager"}
        patch.setattr(nn.Module, "compile", lambda self, options, **more: compile(self, **form, **more))
        patch.setattr("ncsn.networks.compiled.has_fast_bfloat16", lambda device_type: True)
        yield
    torch.compiler.reset()


def load(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.fixture(scope="module")
def runs(call: Command, tiny: list[str], only_run: Command, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run's folder for each speed."""
    folders = {}
    for speed in ("eager", "fast"):
        cwd = tmp_path_factory.mktemp(speed)
        call("train", *tiny, *SHORT, f"speed={speed}", cwd=cwd)
        folders[speed] = only_run(cwd)
    return folders


def test_a_fast_run_leaves_the_checkpoints_of_an_eager_one(runs: dict[str, Path]) -> None:
    eager, fast = (load(runs[speed]) for speed in ("eager", "fast"))
    assert fast.keys() == eager.keys()
    for key in ("state_dict", "current_model_state"):
        found, expected = fast[key], eager[key]
        assert list(found) == list(expected)
        assert all(found[name].dtype == expected[name].dtype for name in found)
        for name in found:  # three steps of at most 0.001 each, in bfloat16
            torch.testing.assert_close(found[name], expected[name], rtol=0, atol=0.0061)
    assert (fast["hyper_parameters"]["compile"], eager["hyper_parameters"]["compile"]) == (True, False)
    assert fast["hyper_parameters"]["trainer"]["precision"] == "bf16-mixed"


def test_a_run_goes_on_compiled_or_not(call: Command, tiny: list[str], only_run: Command, tmp_path: Path) -> None:
    """The average, the optimiser's state and the weights are laid out in memory as the network wants them."""
    begun, ends = tmp_path / "begun", {}
    begun.mkdir()
    call("train", *tiny, *SHORT, "trainer.max_steps=20", cwd=begun)
    for second in ("false", "true"):
        cwd = shutil.copytree(begun, tmp_path / second, symlinks=True)
        call("train", *tiny, *SHORT, "trainer.max_steps=21", f"compile={second}", "resume=true", cwd=cwd)
        ends[second] = load(only_run(cwd))
    start = torch.load(only_run(begun) / "checkpoints" / "step_0000020.ckpt", weights_only=True)
    step, other = (
        torch.cat([(end["current_model_state"][name] - value).flatten()
                   for name, value in start["current_model_state"].items()])
        for end in ends.values()
    )  # fmt: skip
    assert float((other - step).norm() / step.norm()) < 1e-3


def test_a_fast_run_goes_on_eagerly(
    runs: dict[str, Path], call: Command, tiny: list[str], only_run: Command, tmp_path: Path
) -> None:
    cwd = shutil.copytree(runs["fast"].parents[2], tmp_path / "cwd", symlinks=True)
    call("train", *tiny, *SHORT, "trainer.max_steps=4", "speed=eager", "resume=true", cwd=cwd)
    before, after = load(runs["fast"]), load(only_run(cwd))
    assert after["global_step"] == 4
    for name, value in before["state_dict"].items():
        torch.testing.assert_close(after["state_dict"][name], value, rtol=0, atol=0.0011)


def test_samples_of_a_fast_run(runs: dict[str, Path], call: Command, tmp_path: Path) -> None:
    folders = {speed: tmp_path / speed for speed in ("eager", "fast")}
    for speed, out in folders.items():
        call("sample", f"ckpt={runs['fast']}", f"speed={speed}", *DRAW, f"out={out}", cwd=tmp_path)
    images, settings = {}, {}
    for speed, folder in folders.items():
        with np.load(folder / "samples.npz") as file:
            images[speed] = file["arr_0"].astype(int)
        settings[speed] = json.loads((folder / "settings.json").read_text())
    assert images["fast"].shape == (4, 8, 8, 1)
    assert images["fast"].std() > 0
    assert np.abs(images["fast"] - images["eager"]).max() <= 2  # two short steps: little to differ by
    assert (settings["fast"]["compile"], settings["eager"]["compile"]) == (True, False)
    assert (settings["fast"]["precision"], settings["eager"]["precision"]) == ("bf16-mixed", "32-true")


def test_samples_of_two_speeds_do_not_mix(runs: dict[str, Path], call: Command, tmp_path: Path) -> None:
    call("sample", f"ckpt={runs['eager']}", *DRAW, f"out={tmp_path / 'out'}", cwd=tmp_path)
    outcome = call(
        "sample", f"ckpt={runs['eager']}", *DRAW, "compile=true", f"out={tmp_path / 'out'}", cwd=tmp_path, check=False
    )
    assert outcome.status == 2
    assert "compile" in outcome.err
