"""Trains a score network: `python train.py data=cifar10 trainer.devices=2`."""

from ncsn.commands.cli import main
from ncsn.commands.train import train

if __name__ == "__main__":
    main(train, "train")
