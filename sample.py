"""Samples from a checkpoint: `python sample.py ckpt=runs/…/checkpoints/last.ckpt`."""

from ncsn.commands.cli import main
from ncsn.commands.sample import sample

if __name__ == "__main__":
    main(sample, "sample")
