"""Data sets: one Lightning data module, and per data set one small file that says where its images come from."""

from ncsn.data.celeba import CelebA
from ncsn.data.cifar10 import CIFAR10
from ncsn.data.digits import Digits
from ncsn.data.ffhq import FFHQ
from ncsn.data.image_folder import ImageFolder
from ncsn.data.lsun import LSUN
from ncsn.data.mnist import MNIST
from ncsn.data.module import ImageDataModule
from ncsn.data.pairs import Pairs
from ncsn.data.stream import Batch, BatchStream, OrderedBatches

__all__ = [
    "CIFAR10",
    "FFHQ",
    "LSUN",
    "MNIST",
    "Batch",
    "BatchStream",
    "CelebA",
    "Digits",
    "ImageDataModule",
    "ImageFolder",
    "OrderedBatches",
    "Pairs",
]
