"""The networks of Song & Ermon 2020 (NCSNv2): unconditional, s(x, σ) = f(x)/σ, in three depths."""

from typing import Literal, get_args

from torch import Tensor

from ncsn.networks.blocks import InstanceNormPlusPlus, NoNorm, max_pool
from ncsn.networks.refinenet import RefineNet, StageShape
from ncsn.score import expand

Depth = Literal["standard", "deeper", "deepest"]

_HALVED = StageShape(2, downsample=True)
_STAGES: dict[Depth, list[StageShape]] = {  # as in the released code
    "standard": [StageShape(1), _HALVED, StageShape(2, dilation=2), StageShape(2, dilation=4)],
    "deeper": [StageShape(1), _HALVED, _HALVED, StageShape(4, dilation=2), StageShape(4, dilation=4)],
    "deepest": [StageShape(1), _HALVED, _HALVED, _HALVED, StageShape(4, dilation=2), StageShape(4, dilation=4)],
}


def depth_for(image_size: int) -> Depth:
    """The depth published for images of about this size: 32 and 64 pixels, 96 and 128, 256."""
    return "standard" if image_size < 96 else "deeper" if image_size < 256 else "deepest"


class NCSNv2(RefineNet):
    """s(x, σ) = f(x)/σ, where f is a RefineNet that does not know σ (Song & Ermon 2020, technique 3 and App. A).

    It differs from `NCSN` as in the authors' code: unconditional InstanceNorm++, no normalisation and max pooling in
    the refine blocks, and one or two more stages for large images. It takes any σ.

    Args:
        sigmas: the noise levels, which every network is given; this one does not need them.
        image_size: height and width of the images in pixels; a multiple of 2, of 4 if deeper, of 8 if deepest.
        in_channels: C of the images.
        num_filters: F, filters of the first cascade; 128 as published.
        depth: "standard", four stages; "deeper", five; "deepest", six; None takes what was published for the size.
        checkpointing: recompute the features of each block when gradients are needed, rather than keep them: 1.1 GiB
            of memory per image of 256 pixels instead of 2.5 (deepest, 128 filters, float32; computed by
            `benchmarks/memory.py`) for about a third more time. The gradients are the same. Not together with exact
            score matching, which is for far smaller images.

    Raises:
        ValueError: a value out of range.
    """

    def __init__(
        self,
        sigmas: Tensor,
        *,
        image_size: int,
        in_channels: int = 3,
        num_filters: int = 128,
        depth: Depth | None = None,
        checkpointing: bool = False,
    ) -> None:
        depth = depth or depth_for(image_size)
        if depth not in _STAGES:
            raise ValueError(f"depth={depth}: must be {', '.join(get_args(Depth))} or None")
        super().__init__(
            in_channels,
            num_filters,
            image_size,
            _STAGES[depth],
            InstanceNormPlusPlus,
            refine_norm=NoNorm,
            pooling=max_pool,
            checkpointing=checkpointing,
        )
        self.depth = depth

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The score at images x (B, C, H, W), pixel values around [0, 1], under noise sigma (B,)."""
        return self.run(x, None) / expand(sigma, x)
