"""Damaged images, as what others are drawn for (Palette, Saharia et al. 2022).

    condition = Inpaint()                                   # or Uncrop(), Colorize(), Jpeg(), SuperResolution(), …
    given = condition(images, labels, draws)                # {"damaged": (B, C, H, W), "hole": (B, 1, H, W)}
    score = score_given(network, given)                     # what objectives and samplers see; ncsn.score

Each is a function of the images and of the draws, so that a run that goes on, or is spread over more devices, damages
them in the same way. All of it is computed for a whole batch, where the batch is; nothing waits for the device.
"""

from ncsn.damage.damages import (
    DAMAGES,
    Colorize,
    Damage,
    Inpaint,
    Jpeg,
    Multitask,
    Pairs,
    SuperResolution,
    Uncrop,
    filled,
    name_of,
)

__all__ = [
    "DAMAGES",
    "Colorize",
    "Damage",
    "Inpaint",
    "Jpeg",
    "Multitask",
    "Pairs",
    "SuperResolution",
    "Uncrop",
    "filled",
    "name_of",
]
