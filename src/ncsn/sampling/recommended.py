"""Which sampler suits a network that was trained already: `sampler=recommended`."""

from typing import Any

from ncsn.checkpoint import TrainedScore
from ncsn.networks.forms import Preconditioned

REGRESSION = "ncsn.restoration.Regression"
"""The sampler of a network that was trained with objective=regression, and of no other."""

# docs/performance.md, "One network, all samplers", and docs/restoration.md are where this comes from.
_SOLVER = {"_target_": "ncsn.samplers.DPMSolverPP", "steps": 20, "spacing": "karras", "eta": 1.0}


def recommended(score: TrainedScore) -> tuple[dict[str, Any], str]:
    """The node of a sampler, that of the training itself or another one, and in a line why it is that one."""
    trained, name = score.config["sampler"], type(score.network).__name__
    if is_regression(score):
        return trained, "one evaluation, since the network was trained with objective=regression"
    if not isinstance(score.network, Preconditioned):
        return trained, f"the sampler of its training, since {name} knows the levels of its ladder alone"
    clip = clipping(score)
    said = f"SDE-DPM-Solver++(2M), since {name} is of the form {score.network.form}"
    return _SOLVER | clip, said + (", clipped as in its training" if clip else "")


def is_regression(score: TrainedScore) -> bool:
    """Whether a network was trained with objective=regression."""
    return bool(score.config["sampler"]["_target_"] == REGRESSION)


def clipping(score: TrainedScore) -> dict[str, bool]:
    """The setting of any sampler of diffusion models that clips denoised images, where they were in training."""
    return {"clip": True} if score.config["sampler"].get("clip") is True else {}
