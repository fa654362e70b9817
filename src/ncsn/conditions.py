"""What an image is drawn for, as a network takes it: network(x, σ, **condition)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ncsn.random import Draws

Condition = Callable[..., dict[str, Tensor]]
"""condition(images, labels, draws): (B, C, H, W), int64 (B,) or None -> what the network is given in training.

A label is here; damaged images, with the hole that is left to draw, are in `ncsn.damage`. Where images come with
damaged ones it is condition(images, labels, draws, damaged=…).
What is dropped, so that the network learns the score given nothing as well, is dropped here.
"""

MOST_NAMES = 100  # in a message


@dataclass(frozen=True)
class Label:
    """The class of an image, `label` (B,), dropped with some probability (Ho & Salimans 2022).

    A label that is dropped becomes `num_classes`, the number after the last class.

    Attributes:
        num_classes: K; labels are 0, …, K − 1.
        dropout: probability with which a label is dropped in training; 0 for a network without guidance.
        names: of the classes, in order; empty if they have none.

    Raises:
        ValueError: a value out of range.
    """

    num_classes: int
    dropout: float = 0.1
    names: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.num_classes < 1:
            raise ValueError(f"num_classes={self.num_classes}: must be at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout}: must be at least 0 and below 1")
        if not isinstance(self.names, list | tuple) or not all(isinstance(name, str) for name in self.names):
            raise ValueError("names: must be a list of text")
        if self.names and len(self.names) != self.num_classes:
            raise ValueError(f"names: must be {self.num_classes}, one for each class, not {len(self.names)}")

    def __call__(self, images: Tensor, labels: Tensor | None, draws: Draws) -> dict[str, Tensor]:
        if labels is None:
            raise ValueError("label: the images have none")
        dropped = draws.uniform(len(labels)) < self.dropout
        return {"label": torch.where(dropped, self.num_classes, labels)}

    def of(self, labels: Tensor) -> dict[str, Tensor]:
        """For images of these classes, int64 (B,)."""
        return {"label": labels}

    def nothing(self, labels: Tensor) -> dict[str, Tensor]:
        """For as many images of no class."""
        return {"label": torch.full_like(labels, self.num_classes)}

    def find(self, label: int | str) -> int:
        """The number of a class, by its name or its number.

        Raises:
            ValueError: there is no such class.
        """
        if str(label) in self.names:
            return list(self.names).index(str(label))
        numbers = [str(number) for number in range(self.num_classes)]
        own = [] if list(self.names) == numbers else self.names[:MOST_NAMES]
        if any(name.isdecimal() for name in own):  # then a number is a name
            raise ValueError(f"must be one of {', '.join(own)}")
        if type(label) is int and 0 <= label < self.num_classes:
            return label
        names = f", or one of {', '.join(own)}" if own else ""
        raise ValueError(f"must be a number from 0 to {self.num_classes - 1}{names}")
