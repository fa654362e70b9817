"""Images as numbered batches: an endless shuffled stream for training, one pass in order for validation.

The number k of a training batch decides what is in it, and nothing else does: with N images and batches of B,

    epoch e = k // (N // B),   row j = k mod (N // B),   images order_e[j·B : (j + 1)·B],

where order_e is a permutation seeded by (seed, e); the remaining N mod B images are left out of that epoch.
So the k-th step of a run sees the same images after a restart and on any number of devices: of every batch,
a process takes the rows rank, rank + world_size, …
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from ncsn.random import key_to_seed

T = TypeVar("T")


class Batch(NamedTuple):
    """One batch, or one process's share of it.

    Attributes:
        images: (B, C, H, W); uint8 as it leaves the loader, float32 in [0, 1] when it reaches a model.
        number: its place in the stream, counted from 0 over the whole run.
        labels: the classes of the images, int64 (B,), None if they have none.
        augmentation: what was done to the images, (B, 9), as `ncsn.data.augmentation` labels it; None for nothing.
        damaged: the images as they were damaged, like `images`, where the data set has them. As a batch leaves the
            loader they are the last channels of `images`.
    """

    images: Tensor
    number: int
    labels: Tensor | None = None
    augmentation: Tensor | None = None
    damaged: Tensor | None = None


class BatchStream:
    """An endless stream of training batches, in an order that depends only on the seed.

    An iteration hands out `len(self)` batches, starting after the last one handed out by any iteration before
    it. The position is `number`; `state_dict` and `load_state_dict` carry it over a restart.

    Args:
        images: uint8 (N, C, H, W), in memory, memory-mapped, or on an accelerator; batches come from there.
        batch_size: images per batch, over all processes together; at most N, divisible by `world_size`.
        seed: determines the order.
        labels: of the images, int64 (N,), on the same device.
        length: batches per iteration, N // batch_size if None.
        number: the first batch handed out.
        rank, world_size: this process and the number of processes.
        pin_memory: put batches where a CUDA device can copy them from without waiting.
        read_ahead: batches prepared in the background, for images on disk.
    """

    def __init__(
        self,
        images: Tensor,
        batch_size: int,
        seed: int,
        *,
        labels: Tensor | None = None,
        length: int | None = None,
        number: int = 0,
        rank: int = 0,
        world_size: int = 1,
        pin_memory: bool = False,
        read_ahead: int = 0,
    ) -> None:
        self.images, self.labels, self.batch_size, self.seed, self.number = images, labels, batch_size, seed, number
        self.per_epoch = len(images) // batch_size
        self.length = self.per_epoch if length is None else length
        self.rank, self.world_size = rank, world_size
        self.pin_memory, self.read_ahead = pin_memory, read_ahead

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Batch]:
        batches = self._batches(self.number)
        if self.read_ahead:
            batches = _read_ahead(batches, self.read_ahead)
        for batch in islice(batches, self.length):
            self.number = batch.number + 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """{"number": the next batch to hand out}."""
        return {"number": self.number}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue with batch `state["number"]`; iterations already begun are not affected."""
        self.number = state["number"]

    def _batches(self, first: int) -> Iterator[Batch]:
        """The batches `first`, `first` + 1, … without end."""
        first_epoch, first_row = divmod(first, self.per_epoch)
        for epoch in count(first_epoch):
            order = self._order(epoch)
            for row in range(first_row if epoch == first_epoch else 0, self.per_epoch):
                batch = order[row * self.batch_size : (row + 1) * self.batch_size]
                mine = batch[self.rank :: self.world_size]
                labels = None if self.labels is None else self._handed_out(self.labels[mine])
                yield Batch(self._handed_out(self.images[mine]), epoch * self.per_epoch + row, labels)

    def _handed_out(self, rows: Tensor) -> Tensor:
        return rows.pin_memory() if self.pin_memory else rows

    def _order(self, epoch: int) -> Tensor:
        """The permutation of an epoch: drawn on the CPU, the same everywhere, and moved to the images."""
        generator = torch.Generator().manual_seed(key_to_seed(self.seed, "order", epoch))
        return torch.randperm(len(self.images), generator=generator).to(self.images.device)


class OrderedBatches:
    """Every image once, in order; the last batch may be smaller.

    Up to `world_size` − 1 images at the end are left out, so that all processes get batches of the same size.

    Args:
        images: uint8 (N, C, H, W).
        batch_size: images per batch, over all processes together; divisible by `world_size`.
        labels: of the images, int64 (N,).
        rank, world_size: this process and the number of processes.
    """

    def __init__(
        self, images: Tensor, batch_size: int, *, labels: Tensor | None = None, rank: int = 0, world_size: int = 1
    ) -> None:
        self.images = images[: len(images) - len(images) % world_size]
        self.labels, self.batch_size, self.rank, self.world_size = labels, batch_size, rank, world_size

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for number, start in enumerate(range(0, len(self.images), self.batch_size)):
            stop = min(start + self.batch_size, len(self.images))
            mine = slice(start + self.rank, stop, self.world_size)
            yield Batch(self.images[mine], number, None if self.labels is None else self.labels[mine])


def _read_ahead(items: Iterator[T], depth: int) -> Iterator[T]:
    """The items of an endless iterator, up to `depth` of them made in a thread before they are asked for."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        waiting = deque(thread.submit(next, items) for _ in range(depth))
        while True:
            waiting.append(thread.submit(next, items))
            yield waiting.popleft().result()
