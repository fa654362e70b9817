"""Scores samples: `python evaluate.py ckpt=runs/…/checkpoints/last.ckpt`, or `ncsn evaluate …`."""

from ncsn.commands.cli import run

if __name__ == "__main__":
    run("evaluate")
