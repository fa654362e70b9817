"""Noise levels and step size for a data set: `python -m ncsn.noise data=cifar10 sampler.steps_per_level=5`."""

from ncsn.cli import main
from ncsn.levels import show

if __name__ == "__main__":
    main(show, "noise")
