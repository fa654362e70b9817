"""The largest distance between two images: σ₁ by technique 1 of Song & Ermon, NeurIPS 2020 (Sec. 3.1).

N images have N(N − 1)/2 distances; for CIFAR-10, with D = 3,072, that takes 8·10¹² operations. Nearly all of them can
be left out. With rₐ the distance of image a from any one point c,

    ‖a − b‖ ≤ rₐ + r_b,

so a pair need not be looked at if rₐ + r_b is no more than a distance already found. Hence

1. c is the mean of the images, and all rₐ are computed: one pass over the images.
2. A first distance is found by going to the farthest image, from there to the one farthest from it, and so on until
   the distance does not grow: two or three passes. It is a lower bound, and the two largest r add up to an upper one.
3. The images are sorted by r, largest first, and taken in blocks. Pairs of blocks that the bound does not rule out
   are multiplied out, each once. When no pair of a block can win, none of a later block can.

Every decision is exact. Grey values are whole numbers, and so are squared distances in units of 1/255². In step 3
products in float32 tell whether a block may hold a larger distance, with a bound on the rounding error (Higham,
Accuracy and Stability of Numerical Algorithms, Sec. 3.1). Rows and columns for which that cannot be ruled out are
multiplied once more in float64, in which whole numbers up to 2⁵³ are exact.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

Progress = Callable[[str, float], None]
"""progress(what, share): what is being done, and how much of it is done, in [0, 1]."""

_BLOCK_BYTES = 2**25  # of the images of a block
_BLOCK_ROWS = 4096  # at most: the distances of two blocks are a float32 matrix
_CHUNK = 4096  # values multiplied at a time: bounds the memory of a block in float32, and its rounding
_CENTRE_IMAGES = 16_384  # whose mean is c
_UNIT_ROUNDOFF = 2.0**-24  # of float32


@dataclass(frozen=True)
class MaxDistance:
    """The largest Euclidean distance between two images, pixels in [0, 1].

    Attributes:
        distance: of the pair; a lower bound unless `exact`.
        pair: the numbers of the two images, the smaller first.
        upper_bound: no pair is farther apart; equals `distance` if that is exact.
    """

    distance: float
    pair: tuple[int, int]
    upper_bound: float

    @property
    def exact(self) -> bool:
        """Whether no pair is farther apart than `distance`."""
        return self.upper_bound == self.distance


@torch.no_grad()
def max_pairwise_distance(
    images: Tensor,
    *,
    exact: bool = True,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> MaxDistance:
    """The largest Euclidean distance between two images, and the pair that has it.

    Args:
        images: uint8 (N, …), N ≥ 2; may be memory-mapped, since a few MiB of them are read at a time.
        exact: False stops before step 3 (see the module), after a few passes over the images. The result is then a
            lower bound, usually the maximum itself, and an upper bound.
        device: where the arithmetic is done.
        progress: called from time to time.

    Raises:
        ValueError: fewer than two images, or not uint8.
    """
    if images.dtype != torch.uint8:
        raise ValueError(f"images: must be uint8, not {images.dtype}")
    if len(images) < 2:
        raise ValueError(f"images: two are needed, not {len(images)}")
    search = _Search(images.flatten(1), torch.device(device), progress or (lambda what, share: None))
    search.go_to_the_farthest()
    if exact:
        with _full_precision():
            search.compare_blocks()
    return search.result(exact)


class _Search:
    """The best pair so far, `square` its squared distance in units of 1/255²."""

    def __init__(self, images: Tensor, device: torch.device, progress: Progress) -> None:
        self.images, self.device, self.progress = images, device, progress
        self.rows = max(16, min(_BLOCK_ROWS, _BLOCK_BYTES // images.shape[1]))
        every = max(1, len(images) // _CENTRE_IMAGES)
        some = images[: every * _CENTRE_IMAGES : every]
        total = torch.stack([block.sum(0) for block in some.split(self.rows)]).sum(0)
        self.centre = (total / len(some)).round().to(torch.uint8)
        self.squared_radii = self._squares_from(self.centre, "radii")
        self.order = self.squared_radii.argsort(descending=True, stable=True)
        self.radii = self.squared_radii[self.order].double().sqrt()  # sorted
        self.square, self.pair = -1, (0, 1)  # no pair yet

    def result(self, exact: bool) -> MaxDistance:
        distance = math.sqrt(self.square) / 255
        upper = float(self.radii[0] + self.radii[1]) / 255
        return MaxDistance(distance, self.pair, distance if exact else max(upper, distance))

    def go_to_the_farthest(self) -> None:
        start = int(self.order[0])
        while True:
            squares = self._squares_from(self.images[start], "farthest images")
            squares[start] = -1
            end = int(squares.argmax())
            if int(squares[end]) <= self.square:
                break
            self.square, self.pair = int(squares[end]), (min(start, end), max(start, end))
            start = end

    def compare_blocks(self) -> None:
        count = len(self._candidates(self.radii[0]))
        for i in range(0, count, self.rows):
            here = self._candidates(self.radii[i])  # may have become fewer
            if len(here) <= i:
                break
            left = self._block(here[i : i + self.rows])
            for j in range(i, len(here), self.rows):
                if not self._may_win(self.radii[i], self.radii[j]):
                    break
                self._compare(i, j, left, self._block(here[j : j + self.rows]))
                self.progress("pairs", min(1.0, (i + self.rows * (j - i) / max(len(here) - i, 1)) / count))
        self.progress("pairs", 1.0)

    def _compare(self, i: int, j: int, left: Tensor, right: Tensor) -> None:
        """Two blocks of images as signed differences from the centre, int16, the i-th and j-th of the sorted ones."""
        a, b = (self.squared_radii[self.order[k : k + len(x)]] for k, x in ((i, left), (j, right)))
        squares = a.float()[:, None] + b.float()[None] - 2 * self._products(left, right).cpu()
        chunks = -(-left.shape[1] // _CHUNK)
        terms = min(left.shape[1], _CHUNK) + chunks + 10
        rounding = terms * _UNIT_ROUNDOFF * float(self.radii[i] + self.radii[j]) ** 2
        candidates = squares > self.square - rounding
        if i == j:
            candidates.fill_diagonal_(False)
        if not candidates.any():
            return
        rows, columns = candidates.any(1).nonzero().flatten(), candidates.any(0).nonzero().flatten()
        x, y = (part.cpu().double() for part in (left[rows.to(left.device)], right[columns.to(right.device)]))
        exact = a[rows].double()[:, None] + b[columns].double()[None] - 2 * (x @ y.T)
        best = int(exact.argmax())
        row, column = divmod(best, len(columns))
        if int(exact.flatten()[best]) > self.square:
            self.square = int(exact.flatten()[best])
            pair = int(self.order[i + int(rows[row])]), int(self.order[j + int(columns[column])])
            self.pair = min(pair), max(pair)

    def _products(self, left: Tensor, right: Tensor) -> Tensor:
        """The inner products of two blocks, float32."""
        parts = zip(left.split(_CHUNK, dim=1), right.split(_CHUNK, dim=1), strict=True)
        first, *others = (x.float() @ y.float().T for x, y in parts)
        for other in others:
            first += other
        return first

    def _block(self, numbers: Tensor) -> Tensor:
        return self.images[numbers].to(self.device).short() - self.centre.to(self.device).short()

    def _candidates(self, radius: Tensor) -> Tensor:
        """Numbers of the images, sorted, that may be far enough from one with this radius."""
        return self.order[: int(self._may_win(self.radii, radius).sum())]

    def _may_win(self, a: Tensor, b: Tensor) -> Tensor:
        """Whether images with these radii may be farther apart than the best pair."""
        return (a + b) * (1 + 1e-9) > math.sqrt(max(self.square, 0))  # with room for the rounding of the roots

    def _squares_from(self, point: Tensor, what: str) -> Tensor:
        """Squared distances of all images from an image or the centre, whole numbers, int64."""
        point = point.to(self.device).short()
        squares = torch.empty(len(self.images), dtype=torch.int64)
        for start in range(0, len(self.images), self.rows):
            block = self.images[start : start + self.rows].to(self.device).short()
            squares[start : start + self.rows] = (block - point).int().square().sum(1).cpu()
            self.progress(what, min(1.0, (start + self.rows) / len(self.images)))
        return squares


@contextmanager
def _full_precision() -> Iterator[None]:
    """Within it, float32 products are float32 products, whatever torch is told to make of them outside."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
