"""Scores of samples: `python evaluate.py ckpt=runs/…/checkpoints/last.ckpt features=classifier`."""

from ncsn.cli import main
from ncsn.evaluation.run import evaluate

if __name__ == "__main__":
    main(evaluate, "evaluate")
