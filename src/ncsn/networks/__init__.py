"""Score networks: modules that are called as score(x, sigma), one file per architecture.

`Preconditioned` makes one of any F(x, c), in a form of `ncsn.networks.forms`.
"""

from ncsn.networks.energy import EnergyNCSN
from ncsn.networks.forms import Preconditioned
from ncsn.networks.ncsn import NCSN
from ncsn.networks.ncsnv2 import NCSNv2
from ncsn.networks.unet import UNet

__all__ = ["NCSN", "EnergyNCSN", "NCSNv2", "Preconditioned", "UNet"]
