"""Tasks of `sample.py`: what its chains start from, what drives them, and how their samples are shown."""

from ncsn.sampling.tasks.damaged import Restore
from ncsn.sampling.tasks.generate import Generate, Interpolate
from ncsn.sampling.tasks.panorama import Panorama
from ncsn.sampling.tasks.restore import Colorize, Denoise, Inpaint, SuperResolution, Uncrop
from ncsn.sampling.tasks.task import Task

__all__ = [
    "Colorize",
    "Denoise",
    "Generate",
    "Inpaint",
    "Interpolate",
    "Panorama",
    "Restore",
    "SuperResolution",
    "Task",
    "Uncrop",
]
