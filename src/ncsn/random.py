"""Randomness as a pure function of what is being done, not of what was done before.

A training step that draws from a global generator cannot be repeated after a restart, nor on another number
of devices. Here every draw belongs to a *key* (a seed, a purpose, the number of a batch): the same key gives the
same numbers, whatever ran in between and however many processes share the batch.

A key's seed has 63 bits, but PyTorch's generator on a CPU uses only the lower 32 (that of a GPU uses all). So on a
CPU any two keys draw the same numbers with probability 2⁻³², and among n keys about n²/2³³ pairs do. Of 500 batches
of samples, some two are the same in 3 runs of 100,000. Of the 200,000 training steps of the paper 4.7 pairs are
expected. That does no harm: two steps far apart add the same noise to different images.
"""

import hashlib

import torch
from torch import Tensor


def key_to_seed(*key: int | str) -> int:
    """A seed of 63 bits for a key, a hash: different keys give seeds that have nothing to do with each other."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class Draws:
    """Random numbers for one batch that `world_size` processes share.

    Every process draws for the whole batch and keeps its own rows (rank, rank + world_size, …), so the union over
    the processes equals what one process would have drawn.

    Args:
        *key: what the numbers belong to, e.g. `(seed, "train", batch_number)`.
        device: where they are drawn; CPU and GPU draw different numbers.
        rank, world_size: this process and the number of processes.
    """

    def __init__(
        self, *key: int | str, device: torch.device | str = "cpu", rank: int = 0, world_size: int = 1
    ) -> None:
        self.generator = torch.Generator(device).manual_seed(key_to_seed(*key))
        self.device, self.rank, self.world_size = torch.device(device), rank, world_size

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal values of the shape (B, …) of `like`."""
        return self._share(torch.randn(self._whole(like.shape), generator=self.generator, device=self.device))

    def uniform(self, *shape: int) -> Tensor:
        """Values uniform in [0, 1) of the given shape (B, …)."""
        return self._share(torch.rand(self._whole(shape), generator=self.generator, device=self.device))

    def integers(self, high: int, batch: int) -> Tensor:
        """`batch` integers uniform in {0, …, high − 1}, int64."""
        whole = self._whole((batch,))
        return self._share(torch.randint(high, whole, generator=self.generator, device=self.device))

    def _whole(self, shape: tuple[int, ...] | torch.Size) -> tuple[int, ...]:
        return (shape[0] * self.world_size, *shape[1:])

    def _share(self, whole: Tensor) -> Tensor:
        return whole if self.world_size == 1 else whole[self.rank :: self.world_size]
