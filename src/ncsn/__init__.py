"""Score-based generative modelling with noise conditional score networks (Song & Ermon, NeurIPS 2019)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ncsn import conditions, data, images, noise, objectives, restoration, samplers
    from ncsn.checkpoint import TrainedScore, load_score
    from ncsn.energy import EnergyScore
    from ncsn.networks import NCSN, NCSNv2, UNet
    from ncsn.score import Given, Guided

_HOMES = {"EnergyScore": "ncsn.energy", "NCSN": "ncsn.networks", "NCSNv2": "ncsn.networks", "UNet": "ncsn.networks"}
_HOMES |= {
    "TrainedScore": "ncsn.checkpoint",
    "load_score": "ncsn.checkpoint",
    "Given": "ncsn.score",
    "Guided": "ncsn.score",
}

__all__ = [
    "NCSN",
    "EnergyScore",
    "Given",
    "Guided",
    "NCSNv2",
    "TrainedScore",
    "UNet",
    "conditions",
    "data",
    "images",
    "load_score",
    "noise",
    "objectives",
    "restoration",
    "samplers",
]


if not TYPE_CHECKING:  # a checker would take any name for one of the package

    def __getattr__(name: str) -> Any:
        """Imports what is asked for when it is: the core must not load the libraries of the shell."""
        if name in _HOMES:
            return getattr(import_module(_HOMES[name]), name)
        if name in __all__:
            return import_module(f"ncsn.{name}")
        raise AttributeError(f"module 'ncsn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
