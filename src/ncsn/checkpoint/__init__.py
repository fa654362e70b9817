"""Checkpoints, ours, the authors' and those of diffusers, as networks that are ready to sample from.

    score = load_score("runs/paper_cifar10/2026-11-21_22-57-03")    # or any file; or hf://user/repo
    score(x, sigma)

`ncsn convert in out` makes one format of another, `push` shares one on the Hugging Face Hub.
"""

from ncsn.checkpoint.reading import read_checkpoint, resolve
from ncsn.checkpoint.released import Assumptions
from ncsn.checkpoint.score import TrainedScore, Weights, load_score, save_score

__all__ = ["Assumptions", "TrainedScore", "Weights", "load_score", "read_checkpoint", "resolve", "save_score"]
