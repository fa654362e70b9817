"""Samples from a checkpoint: `python sample.py ckpt=runs/…/checkpoints/last.ckpt`, or `ncsn sample …`."""

from ncsn.commands.cli import run

if __name__ == "__main__":
    run("sample")
