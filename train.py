"""Trains a score network: `python train.py data=cifar10 trainer.devices=2`, or `ncsn train …`."""

from ncsn.commands.cli import run

if __name__ == "__main__":
    run("train")
