"""The samplers that the page offers, each for a number of evaluations of the network."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from ncsn.checkpoint import TrainedScore
from ncsn.config import as_config_error, build, check
from ncsn.errors import ConfigError
from ncsn.samplers import (
    DDIM,
    DDPM,
    BudgetedLangevin,
    DPMSolverPP,
    Heun,
    PredictorCorrector,
    Sampler,
    UniPC,
    num_evaluations,
)
from ncsn.sampling.recommended import clipping, is_regression, recommended

MOST_EVALUATIONS = 500
TRAINED = "The one of its training"
WITHOUT_NOISE = "DPM-Solver++(2M)"  # but that of the start
LANGEVIN = "Annealed Langevin (Algorithm 1)"
HELD = "DDPM, ancestral"  # what Algorithm 2 does well with; see docs/restoration.md


@dataclass(frozen=True)
class Choice:
    """A sampler for a number of evaluations.

    Attributes:
        name: `sampler=…` of the command line.
        make: the same in Python.
        key: of its settings, the number of evaluations or of steps.
    """

    name: str
    make: Callable[..., Sampler]
    key: str = "steps"

    def settings(self, score: TrainedScore, evaluations: int) -> dict[str, Any]:
        """The most steps that take so many evaluations, but at least the fewest there are."""
        if self.key == "evaluations":
            return {self.key: max(evaluations, 3)}
        levels = len(score.sigmas)
        clip = {"clip": False} | clipping(score)  # said in either case: sampler=sde_dpmpp_2m clips by itself
        several = ({self.key: steps} | clip for steps in range(evaluations, 2, -1))
        fitting = (each for each in several if num_evaluations(self.make(**each), levels) <= evaluations)
        return next(fitting, {self.key: 2} | clip)


CHOICES = {
    "SDE-DPM-Solver++(2M)": Choice("sde_dpmpp_2m", lambda **settings: DPMSolverPP(eta=1.0, **settings)),
    WITHOUT_NOISE: Choice("dpmpp_2m", DPMSolverPP),
    "UniPC": Choice("unipc", UniPC),
    "DDIM": Choice("ddim", DDIM),
    "Heun (EDM)": Choice("heun", Heun),
    HELD: Choice("ddpm", DDPM),
    "Predictor–corrector": Choice("pc", PredictorCorrector),
    LANGEVIN: Choice("ald_100", BudgetedLangevin, key="evaluations"),
}
"""By the names on the page."""


def names(score: TrainedScore) -> list[str]:
    """Those that suit a network."""
    return [TRAINED] if is_regression(score) else [*CHOICES, TRAINED]


def suggested(score: TrainedScore, *, held: bool = False) -> tuple[str, int]:
    """What to begin with: the name of the recommended sampler, and its number of evaluations.

    Args:
        held: for Algorithm 2, which needs more steps.
    """
    node, _ = recommended(score)
    if node is score.config["sampler"]:
        return (LANGEVIN if held and not getattr(_built(node), "can_be_held", False) else TRAINED), 100
    if held:
        return HELD, 100
    sampler = _built(node)
    evaluations = num_evaluations(sampler, len(score.sigmas))
    return next(name for name in CHOICES if sampler_of(score, name, evaluations) == sampler), evaluations


def sampler_of(score: TrainedScore, name: str, evaluations: int) -> Sampler:
    """The sampler of a name, with at most so many evaluations, which the one of the training does not mind.

    Raises:
        ConfigError: it does not suit the network, or refuses them.
    """
    if name not in names(score):
        raise ConfigError(f"{name}: does not suit this network, which takes: {', '.join(names(score))}")
    if name == TRAINED:
        return _built(score.config["sampler"])
    choice = CHOICES[name]
    with as_config_error("sampler"):
        return choice.make(**choice.settings(score, evaluations))


def overrides_of(score: TrainedScore, name: str, evaluations: int) -> list[str]:
    """The same on the command line."""
    if name == TRAINED:
        return []
    settings = CHOICES[name].settings(score, evaluations)
    return [f"sampler={CHOICES[name].name}", *(f"sampler.{k}={str(v).lower()}" for k, v in settings.items())]


def _built(node: dict[str, Any]) -> Sampler:
    sampler: Sampler = build(check(OmegaConf.create({"sampler": node})).sampler, "sampler")
    return sampler
