from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_runs

from ncsn import load_score
from ncsn.checkpoint import save_score
from ncsn.data import Digits
from ncsn.evaluation import Classifier, classifier


@pytest.fixture(scope="session")
def judging(data_root: Path) -> Digits:
    """The digits of the tiny runs, with a classifier that was trained for two seconds instead of twenty."""
    data = Digits(root=str(data_root))
    data.prepare_data()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "MIN_STEPS", 40)
        patch.setattr(classifier, "EPOCHS", 0)
        Classifier.for_data(data)
    return data


@pytest.fixture(scope="session")
def network(trained: Path, once: Callable[..., Path]) -> Path:
    """A file with the network of `trained` alone, read in a fraction of the time that its training's state takes."""
    folder = once("network", lambda folder: save_score(load_score(trained), folder / "alone.safetensors"))
    return folder / "alone.safetensors"


@pytest.fixture(scope="session")
def quick(data_root: Path) -> list[str]:
    return tiny_runs.tiny_quick(data_root)


@pytest.fixture(scope="session")
def palette(call: Callable[..., Any], quick: list[str], only_run: Callable[[Path], Path], once: Any) -> Path:
    """The folder of a run on two damages, with checkpoints at steps 2 and 4; not to be changed."""
    damages = ["condition=multitask", "condition.damages=[uncrop,jpeg]", "callbacks.checkpoint.save_top_k=-1"]
    return only_run(once("palette", lambda cwd: call("train", *quick, *damages, "trainer.max_steps=4", cwd=cwd)))
