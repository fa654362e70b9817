"""RefineNet, shared by NCSN and NCSNv2: residual stages down and refine blocks back up."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ncsn.networks.blocks import (
    Float32Conv,
    Level,
    Norm,
    Pooling,
    RefineBlock,
    ResidualBlock,
    Stage,
    average_pool,
    elu,
)


class StageShape(NamedTuple):
    """A stage of two residual blocks.

    Attributes:
        width: channels of its feature maps, in units of F.
        downsample: whether the first block halves the resolution.
        dilation: of the convolutions, instead of further halving.
    """

    width: int
    downsample: bool = False
    dilation: int = 1


class RefineNet(nn.Module):
    """Stem, stages, one refine block per stage, and a head, on pixels rescaled to 2x − 1.

    Args:
        in_channels: C of the images.
        num_filters: F, filters of the stem.
        image_size: height and width of the images in pixels; it must be divisible by the halvings of all stages.
        stages: from the first, of width 1, to the last.
        norm: makes the normalisations of the stages and of the head.
        refine_norm: makes those of the refine blocks.
        pooling: of their chained residual pooling.
        checkpointing: keep only what goes from block to block, and recompute each block when gradients are needed:
            much less memory for about a third more time. The gradients are the same.

    Raises:
        ValueError: a value out of range.
    """

    def __init__(
        self,
        in_channels: int,
        num_filters: int,
        image_size: int,
        stages: Sequence[StageShape],
        norm: Norm,
        *,
        refine_norm: Norm,
        pooling: Pooling = average_pool,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        _check(in_channels, num_filters, image_size, 2 ** sum(stage.downsample for stage in stages))
        self.checkpointing = checkpointing
        widths = [num_filters * stage.width for stage in stages]
        self.stem = Float32Conv(in_channels, num_filters, 3, padding=1)
        self.stages = nn.ModuleList(
            _stage(before, width, stage, norm)
            for before, width, stage in zip([num_filters, *widths], widths, stages, strict=False)
        )
        refine = partial(RefineBlock, norm=refine_norm, pooling=pooling)
        blocks = [refine(widths[-1:], widths[-1])]
        for i in reversed(range(len(stages) - 1)):  # from the last stage but one to the first
            out = widths[max(i - 1, 0)]
            blocks.append(refine([widths[i], widths[i]], out, num_output_units=3 if i == 0 else 1))
        self.refine = nn.ModuleList(blocks)
        self.head_norm = norm(num_filters)
        self.head = Float32Conv(num_filters, in_channels, 3, padding=1)

    def run(self, x: Tensor, level: Level) -> Tensor:
        """Maps images (B, C, H, W), pixel values around [0, 1], and what the normalisations take, to (B, C, H, W)."""
        return self.run_rescaled(2 * x - 1, level)

    def run_rescaled(self, x: Tensor, level: Level) -> Tensor:
        """The same of images whose pixel values are around [−1, 1]."""
        h = self.stem(x)
        features = []
        for stage in self.stages:
            h = self._block(stage, h, level)
            features.append(h)

        h = self._block(self.refine[0], [features.pop()], level)
        for refine in self.refine[1:]:
            h = self._block(refine, [features.pop(), h], level)
        return self.head(elu(self.head_norm(h, level)))

    def _block(self, block: Callable[..., Tensor], *arguments: Any) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(block, *arguments, use_reentrant=False, preserve_rng_state=False)
        return block(*arguments)


def _stage(in_channels: int, out_channels: int, shape: StageShape, norm: Norm) -> Stage:
    downsample, dilation = shape.downsample, shape.dilation
    block = partial(ResidualBlock, norm=norm, dilation=dilation)
    first = downsample or dilation > 1
    opening = block(in_channels, out_channels, downsample=downsample, first=first)
    return Stage([opening, block(out_channels, out_channels)])


def _check(in_channels: int, num_filters: int, image_size: int, factor: int) -> None:
    if image_size < 2 * factor or image_size % factor:
        what = "even" if factor == 2 else f"a multiple of {factor}"
        raise ValueError(
            f"image_size={image_size}: must be {what} and at least {2 * factor}, since the network "
            + ("halves it" if factor == 2 else f"divides it by {factor}")
        )
    if in_channels < 1:
        raise ValueError(f"in_channels={in_channels}: must be at least 1")
    if num_filters < 2:
        raise ValueError(f"num_filters={num_filters}: must be at least 2")
