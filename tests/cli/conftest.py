from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ncsn.data import Digits
from ncsn.evaluation import Classifier, classifier


@pytest.fixture(scope="session")
def judging(tiny: list[str]) -> Digits:
    """The digits of the tiny runs, with a classifier that was trained for two seconds instead of twenty."""
    data = Digits(root=next(given.partition("=")[2] for given in tiny if given.startswith("data.root=")))
    data.prepare_data()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "MIN_STEPS", 40)
        patch.setattr(classifier, "EPOCHS", 0)
        Classifier.for_data(data)
    return data


@pytest.fixture(scope="session")
def quick(tiny: list[str]) -> list[str]:
    """Overrides for a tiny run of experiment=quick, with pictures and a checkpoint every two steps."""
    left_out = ("noise.", "sampler", "model", "trainer.max_steps", "callbacks.samples")
    changed = ["model.num_filters=4", "model.multipliers=[1]", "sampler.steps=2", "scheduler=constant"]
    pictures = ["callbacks.samples.every_n_steps=2", "callbacks.samples.num_samples=6"]
    own = [given for given in tiny if not given.startswith(left_out)]
    return ["experiment=quick", "trainer.max_time=null", *changed, *pictures, *own]


@pytest.fixture(scope="session")
def palette(call: Callable[..., Any], quick: list[str], only_run: Callable[[Path], Path], once: Any) -> Path:
    """The folder of a run on two damages, with checkpoints at steps 2 and 4; not to be changed."""
    damages = ["condition=multitask", "condition.damages=[uncrop,jpeg]", "callbacks.checkpoint.save_top_k=-1"]
    return only_run(once("palette", lambda cwd: call("train", *quick, *damages, "trainer.max_steps=4", cwd=cwd)))
