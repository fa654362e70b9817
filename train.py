"""Trains a score network: `python train.py data=cifar10 trainer.devices=2`."""

from ncsn.cli import main
from ncsn.training.run import train

if __name__ == "__main__":
    main(train, "train")
