"""Restoration: chains that agree with what is known of an image.

    known = KnownPixels(mask)                                   # or KnownGrey(), KnownBlocks(factor)
    sampler = Restoration(AnnealedLangevin(…), known, images)   # Algorithm 2; or with another sampler; itself one
    for state in sampler(score, x, sigmas): …

To denoise an image whose noise level is known takes no chain: `tweedie(score, x, sigma)`.
"""

from ncsn.known import Known, KnownBlocks, KnownGrey, KnownPixels
from ncsn.restoration.algorithm2 import Restoration, check_can_be_held
from ncsn.restoration.later import Later
from ncsn.restoration.panorama import Panorama
from ncsn.restoration.put_back import PutBack
from ncsn.restoration.regression import Regression
from ncsn.restoration.tweedie import Tweedie, tweedie

__all__ = [
    "Known",
    "KnownBlocks",
    "KnownGrey",
    "KnownPixels",
    "Later",
    "Panorama",
    "PutBack",
    "Regression",
    "Restoration",
    "Tweedie",
    "check_can_be_held",
    "tweedie",
]
