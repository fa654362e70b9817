"""Dropout of features, the same however many processes share a batch."""

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`, drawn for the whole batch by every process, which keeps its rows.

    So where all processes seed PyTorch's own generator alike, a row loses the same features whatever their number.

    Args:
        p: probability with which a feature is dropped in training, in [0, 1).

    Attributes:
        rank, world_size: the rows given are rank, rank + world_size, … of the whole batch.
    """

    def __init__(self, p: float) -> None:
        super().__init__(p)
        self.rank, self.world_size = 0, 1

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        whole = (len(x) * self.world_size, *x.shape[1:])
        kept = torch.empty(whole, dtype=torch.bool, device=x.device).bernoulli_(1 - self.p)
        return torch.where(kept[self.rank :: self.world_size], x / (1 - self.p), 0)
