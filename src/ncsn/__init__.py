"""Score-based generative modelling with noise conditional score networks (Song & Ermon, NeurIPS 2019)."""

from ncsn import data, images, noise, objectives, restoration, samplers
from ncsn.checkpoint import load_score
from ncsn.energy import EnergyScore
from ncsn.networks import NCSN, NCSNv2

__all__ = [
    "NCSN",
    "EnergyScore",
    "NCSNv2",
    "data",
    "images",
    "load_score",
    "noise",
    "objectives",
    "restoration",
    "samplers",
]
