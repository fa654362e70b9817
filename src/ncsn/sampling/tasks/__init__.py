"""Tasks of `sample.py`: what its chains start from, what drives them, and how their samples are shown."""

from ncsn.sampling.tasks.damaged import Restore
from ncsn.sampling.tasks.flow import Decode, Encode, InterpolateImages, interpolate
from ncsn.sampling.tasks.generate import Generate, Interpolate
from ncsn.sampling.tasks.panorama import Panorama
from ncsn.sampling.tasks.restore import Colorize, Denoise, Inpaint, SuperResolution, Uncrop
from ncsn.sampling.tasks.task import Task

__all__ = [
    "Colorize",
    "Decode",
    "Denoise",
    "Encode",
    "Generate",
    "Inpaint",
    "Interpolate",
    "InterpolateImages",
    "Panorama",
    "Restore",
    "SuperResolution",
    "Task",
    "Uncrop",
    "interpolate",
]
