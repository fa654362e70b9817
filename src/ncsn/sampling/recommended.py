"""Which sampler suits a network that was trained already: `sampler=recommended`."""

from typing import Any

from ncsn.checkpoint import TrainedScore
from ncsn.networks.forms import Form, Preconditioned

_SOLVER = {"_target_": "ncsn.samplers.DPMSolverPP", "steps": 20, "spacing": "karras"}

# Source: docs/performance.md, the best distance at 20 evaluations per image.
_BY_FORM: dict[Form, tuple[dict[str, Any], str]] = {
    "edm": (_SOLVER, "it takes any σ"),
    "ddpm": (_SOLVER, "it estimates the noise"),
    "v": (_SOLVER, "it estimates the velocity"),
}


def recommended(score: TrainedScore) -> tuple[dict[str, Any], str]:
    """The node of a sampler, and in a line why it is that one."""
    trained = score.config["sampler"]
    if not isinstance(score.network, Preconditioned):
        return trained, f"the sampler of its training, since {_name(score)} knows the levels of its ladder alone"
    node, why = _BY_FORM[score.network.form]
    clip = {"clip": True} if trained.get("clip") is True else {}
    said = f"DPM-Solver++(2M), since {_name(score)} is of the form {score.network.form}: {why}"
    return node | clip, said + (", clipped as in its training" if clip else "")


def _name(score: TrainedScore) -> str:
    return type(score.network).__name__
