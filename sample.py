"""Samples from a checkpoint: `python sample.py ckpt=runs/…/checkpoints/last.ckpt`."""

from ncsn.cli import main
from ncsn.sampling import sample

if __name__ == "__main__":
    main(sample, "sample")
