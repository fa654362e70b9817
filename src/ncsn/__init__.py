"""Score-based generative modelling with noise conditional score networks (Song & Ermon, NeurIPS 2019)."""

from ncsn import noise, objectives, samplers
from ncsn.checkpoint import load_score
from ncsn.networks import NCSN

__all__ = ["NCSN", "load_score", "noise", "objectives", "samplers"]
