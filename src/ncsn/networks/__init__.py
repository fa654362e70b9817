"""Score networks: modules that are called as score(x, sigma), one file an architecture."""

from ncsn.networks.energy import EnergyNCSN
from ncsn.networks.ncsn import NCSN

__all__ = ["NCSN", "EnergyNCSN"]
