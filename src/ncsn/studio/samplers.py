"""The samplers that the page offers, each for a number of evaluations of the network."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import OmegaConf

from ncsn.checkpoint import TrainedScore
from ncsn.config import build, check
from ncsn.damage import Damage
from ncsn.errors import ConfigError
from ncsn.networks.forms import Preconditioned
from ncsn.samplers import Sampler, num_evaluations
from ncsn.sampling.recommended import REGRESSION

MOST_EVALUATIONS = 500
TRAINED = "The one of its training"


@dataclass(frozen=True)
class Choice:
    """A sampler as `sampler=…` names it on the command line.

    Attributes:
        key: of the configuration, which takes the number of evaluations, or of steps.
        settings: others of the configuration.
    """

    name: str
    key: str = "steps"
    settings: dict[str, Any] = field(default_factory=dict)

    def overrides(self, score: TrainedScore, evaluations: int) -> list[str]:
        """The command line that asks for it with at most so many evaluations."""
        values = {self.key: self._value(score, evaluations)} | self._settings(score)
        return [f"sampler={self.name}", *(f"sampler.{key}={str(v).lower()}" for key, v in values.items())]

    def build(self, score: TrainedScore, evaluations: int) -> Sampler:
        """The sampler with at most so many evaluations.

        Raises:
            ConfigError: it refuses them.
        """
        return self._build(score, self._value(score, evaluations))

    def _build(self, score: TrainedScore, value: int) -> Sampler:
        node = {"_target_": _TARGETS[self.name], self.key: value} | self._settings(score)
        return _built(node)

    def _value(self, score: TrainedScore, evaluations: int) -> int:
        """The most steps that take so many evaluations, but at least the fewest there are."""
        if self.key == "evaluations":
            return max(evaluations, 3)
        levels = len(score.sigmas)
        return next(
            (n for n in range(evaluations, 2, -1) if num_evaluations(self._build(score, n), levels) <= evaluations), 2
        )

    def _settings(self, score: TrainedScore) -> dict[str, Any]:
        """Denoised images are clipped where they were in training."""
        clips = self.key == "steps" and score.config["sampler"].get("clip") is True
        return self.settings | ({"clip": True} if clips else {})


_TARGETS = {
    "dpmpp_2m": "ncsn.samplers.DPMSolverPP",
    "unipc": "ncsn.samplers.UniPC",
    "ddim": "ncsn.samplers.DDIM",
    "heun": "ncsn.samplers.Heun",
    "ddpm": "ncsn.samplers.DDPM",
    "pc": "ncsn.samplers.PredictorCorrector",
    "ald_100": "ncsn.samplers.BudgetedLangevin",
}
CHOICES = {
    "SDE-DPM-Solver++(2M)": Choice("dpmpp_2m", settings={"eta": 1.0}),
    "DPM-Solver++(2M)": Choice("dpmpp_2m"),
    "UniPC": Choice("unipc"),
    "DDIM": Choice("ddim"),
    "Heun (EDM)": Choice("heun"),
    "DDPM, ancestral": Choice("ddpm"),
    "Predictor–corrector": Choice("pc"),
    "Annealed Langevin (Algorithm 1)": Choice("ald_100", key="evaluations"),
}
"""By the names on the page."""


def names(score: TrainedScore) -> list[str]:
    """Those that suit a network."""
    return [TRAINED] if _is_regression(score) else [*CHOICES, TRAINED]


def suggested(score: TrainedScore, *, held: bool = False) -> tuple[str, int]:
    """What to begin with: a name, and a number of evaluations; see docs/performance.md and docs/restoration.md.

    Args:
        held: for Algorithm 2, which needs more steps.
    """
    if _is_regression(score) or not isinstance(score.network, Preconditioned):
        return TRAINED, 100
    if held:
        return "DDPM, ancestral", 100
    return ("DPM-Solver++(2M)" if isinstance(score.condition, Damage) else "SDE-DPM-Solver++(2M)"), 20


def sampler_of(score: TrainedScore, name: str, evaluations: int) -> Sampler:
    """The sampler of a name, with at most so many evaluations, which the one of the training does not mind.

    Raises:
        ConfigError: it does not suit the network, or refuses them.
    """
    if name not in names(score):
        raise ConfigError(f"{name}: does not suit this network, which takes: {', '.join(names(score))}")
    return _built(score.config["sampler"]) if name == TRAINED else CHOICES[name].build(score, evaluations)


def overrides_of(score: TrainedScore, name: str, evaluations: int) -> list[str]:
    """The same on the command line."""
    return [] if name == TRAINED else CHOICES[name].overrides(score, evaluations)


def _is_regression(score: TrainedScore) -> bool:
    return bool(score.config["sampler"]["_target_"] == REGRESSION)


def _built(node: dict[str, Any]) -> Sampler:
    sampler: Sampler = build(check(OmegaConf.create({"sampler": node})).sampler, "sampler")
    return sampler
