"""Scores of samples: `python evaluate.py ckpt=runs/…/checkpoints/last.ckpt features=classifier`."""

from ncsn.commands.cli import main
from ncsn.commands.evaluate import evaluate

if __name__ == "__main__":
    main(evaluate, "evaluate")
