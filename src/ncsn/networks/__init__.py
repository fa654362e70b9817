"""Score networks: modules that are called as score(x, sigma), one file per architecture."""

from ncsn.networks.energy import EnergyNCSN
from ncsn.networks.ncsn import NCSN
from ncsn.networks.ncsnv2 import NCSNv2

__all__ = ["NCSN", "EnergyNCSN", "NCSNv2"]
