"""Building blocks of the score networks: normalisation, residual and refine blocks (Song & Ermon 2019, App. A).

Every block is called as block(x, level): feature maps (B, C, H, W) and the place of each row's σ among the levels, or
None where no normalisation asks for it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Norm = Callable[[int], nn.Module]
"""Makes a normalisation of a number of channels; the module is called as norm(x, level)."""


class Between(NamedTuple):
    """Each row's place among the noise levels, between two of them or at one.

    Attributes:
        levels: indices of the level above and of the level below, (2, B).
        weight: of the level below, in [0, 1], (B,); 0 at a level itself.
    """

    levels: Tensor
    weight: Tensor

    @classmethod
    def at(cls, position: Tensor) -> "Between":
        """The place that `noise.position` gives, (B,). Where that is NaN the weight is, at whatever levels."""
        above = position.nan_to_num(0).long()
        return cls(torch.stack([above, position.nan_to_num(0).ceil().long()]), position - above)


Level = Between | None

EPS = 1e-5


def instance_norm_plus_plus(x: Tensor, gamma: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """InstanceNorm++ (Song & Ermon 2019, App. A.1), as the released code computes it:

        z_k = γ_k · ( (x_k − μ_k)/s_k + α_k · (μ_k − m)/v ) + β_k

    with μ_k, s_k mean and standard deviation of channel k over the pixels, m, v mean and standard deviation
    (unbiased) of the C channel means. The paper prints α outside γ. The term in α gives back what instance
    normalisation removes: the channels' relative brightness.

    Statistics and result are float32 whatever the features are, or float64.

    Args:
        x: feature maps (B, C, H, W).
        gamma, alpha, beta: (B, C).
    """
    if torch.compiler.is_compiling():
        return _formula(x, gamma, alpha, beta)
    mean = x.mean(dim=(2, 3), dtype=gamma.dtype)
    # One group for each channel of each row: instance normalisation with a scale and shift of every row's own.
    rows = x.to(gamma.dtype).reshape(1, -1, *x.shape[2:])
    shift = torch.addcmul(beta, gamma, alpha * _relative(mean))
    return F.group_norm(rows, rows.shape[1], gamma.flatten(), shift.flatten(), EPS).view_as(x)


def _formula(x: Tensor, gamma: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """The same as the formula reads; compiled, it is one pass over x per statistic and one for the result."""
    var, mean = torch.var_mean(x.to(gamma.dtype), dim=(2, 3), correction=0)
    scale = gamma * (var + EPS).rsqrt()
    shift = beta + gamma * alpha * _relative(mean) - scale * mean
    scale, shift = torch.stack([scale, shift])  # otherwise the compiler computes both anew at every pixel
    return x * scale[..., None, None] + shift[..., None, None]


def _relative(mean: Tensor) -> Tensor:
    """(μ_k − m)/v, from the channel means (B, C)."""
    m, v = mean.mean(-1, keepdim=True), mean.var(-1, keepdim=True)
    return (mean - m) * (v + EPS).rsqrt()


def elu(x: Tensor) -> Tensor:
    """ELU; compiled, with exp(x) − 1 instead of expm1(x), which would not become vector instructions."""
    if torch.compiler.is_compiling():
        return torch.where(x > 0, x, torch.where(x > 0, 0, x).exp() - 1)  # clamp has slope 0 at x = 0
    return F.elu(x)


class CondInstanceNormPlusPlus(nn.Module):
    """InstanceNorm++ with a set of γ, α ~ N(1, 0.02), β = 0 for each noise level (Song & Ermon 2019, App. A.1).

    Between two levels the sets are interpolated, linearly in log σ.
    """

    def __init__(self, channels: int, num_levels: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(num_levels, 3 * channels)
        nn.init.normal_(self.embed.weight[:, : 2 * channels], 1, 0.02)
        nn.init.zeros_(self.embed.weight[:, 2 * channels :])

    def forward(self, x: Tensor, level: Between) -> Tensor:
        above, below = self.embed(level.levels)
        weight = level.weight[:, None].to(above.dtype)
        return instance_norm_plus_plus(x, *torch.lerp(above, below, weight).chunk(3, dim=-1))


class InstanceNormPlusPlus(nn.Module):
    """InstanceNorm++ with one set of γ, α ~ N(1, 0.02), β = 0 for all noise levels (Song & Ermon 2020)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(channels).normal_(1, 0.02))
        self.alpha = nn.Parameter(torch.empty(channels).normal_(1, 0.02))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, level: Level = None) -> Tensor:
        return instance_norm_plus_plus(x, *(p.expand(len(x), -1) for p in (self.gamma, self.alpha, self.beta)))


class NoNorm(nn.Module):
    """The identity, where there is no normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, level: Level = None) -> Tensor:
        return x


def conv3x3(in_channels: int, out_channels: int, dilation: int = 1, bias: bool = True) -> nn.Conv2d:
    """A 3×3 convolution that keeps the resolution."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation, bias=bias)


class Float32Conv(nn.Conv2d):
    """A convolution that stays in float32 where autocast would make it bfloat16.

    For a network's input and output: eight bits round a pixel by up to 0.004, while σ_L is 0.01.
    """

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight.dtype))


class MeanPooledConv(nn.Conv2d):
    """A 3×3 convolution and then the mean of every 2×2 pixels: together one 4×4 convolution of stride 2.

    That takes 4/9 of the operations.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        weight = F.avg_pool2d(self.weight, 2, stride=1, padding=1)
        return F.conv2d(x, weight, self.bias, stride=2, padding=1)


class ResidualBlock(nn.Module):
    """Pre-activation residual block: shortcut(x) + conv(ELU(norm(conv(ELU(norm(x)))))).

    Args:
        in_channels, out_channels: of the block; the second convolution changes the number in the first block of a
            stage, the first convolution in any other.
        norm: makes the normalisations.
        downsample: halve the resolution by averaging 2×2, in both branches.
        dilation: of both convolutions, instead of further subsampling (App. A.2).
        first: whether the block opens its stage, so that its shortcut is a convolution.

    Raises:
        ValueError: both downsample and dilation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        norm: Norm,
        *,
        downsample: bool = False,
        dilation: int = 1,
        first: bool = False,
    ) -> None:
        super().__init__()
        if downsample and dilation > 1:
            raise ValueError(f"dilation={dilation}: replaces halving the resolution, so not both")
        self.norm1 = norm(in_channels)
        self.conv1 = conv3x3(in_channels, in_channels if first else out_channels, dilation)
        self.norm2 = norm(in_channels if first else out_channels)
        if downsample:
            self.conv2: nn.Module = MeanPooledConv(in_channels if first else out_channels, out_channels)
        else:
            self.conv2 = conv3x3(in_channels if first else out_channels, out_channels, dilation)
        self.downsample = downsample
        self.shortcut: nn.Module | None = None
        if downsample:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1)
        elif first:
            self.shortcut = conv3x3(in_channels, out_channels, dilation)

    def forward(self, x: Tensor, level: Level) -> Tensor:
        h = self.conv1(elu(self.norm1(x, level)))
        h = self.conv2(elu(self.norm2(h, level)))
        if self.downsample:  # averaging and a 1×1 convolution commute: the smaller image is the cheaper one
            x = F.avg_pool2d(x, 2)
        return h + (x if self.shortcut is None else self.shortcut(x))


class Stage(nn.ModuleList):
    """Residual blocks one after the other."""

    def forward(self, x: Tensor, level: Level) -> Tensor:
        for block in self:
            x = block(x, level)
        return x


class ResidualConvUnits(nn.Module):
    """`num_units` residual units of 2 × (norm → ELU → 3×3 convolution without bias)."""

    def __init__(self, channels: int, num_units: int, norm: Norm) -> None:
        super().__init__()
        self.norms = nn.ModuleList(norm(channels) for _ in range(2 * num_units))
        self.convs = nn.ModuleList(conv3x3(channels, channels, bias=False) for _ in range(2 * num_units))

    def forward(self, x: Tensor, level: Level) -> Tensor:
        for i in range(0, len(self.convs), 2):
            h = self.convs[i](elu(self.norms[i](x, level)))
            x = x + self.convs[i + 1](elu(self.norms[i + 1](h, level)))
        return x


class MultiResolutionFusion(nn.Module):
    """Sum of the inputs, each norm → 3×3 convolution → bilinear resize to one resolution."""

    def __init__(self, in_channels: Sequence[int], out_channels: int, norm: Norm) -> None:
        super().__init__()
        self.norms = nn.ModuleList(norm(c) for c in in_channels)
        self.convs = nn.ModuleList(conv3x3(c, out_channels) for c in in_channels)

    def forward(self, inputs: Sequence[Tensor], level: Level) -> Tensor:
        size = inputs[0].shape[2:]
        total: Tensor | None = None
        for norm, conv, x in zip(self.norms, self.convs, inputs, strict=True):
            h = conv(norm(x, level))
            if h.shape[2:] != size:
                h = F.interpolate(h, size, mode="bilinear", align_corners=True)
            total = h if total is None else total + h
        assert total is not None
        return total


Pooling = Callable[[Tensor], Tensor]
"""Pools feature maps (B, C, H, W) and keeps their resolution."""

average_pool: Pooling = partial(F.avg_pool2d, kernel_size=5, stride=1, padding=2)
max_pool: Pooling = partial(F.max_pool2d, kernel_size=5, stride=1, padding=2)


class ChainedResidualPooling(nn.Module):
    """ELU, then 2 × (norm → 5×5 pool of stride 1 → 3×3 convolution without bias), each added."""

    def __init__(self, channels: int, norm: Norm, pooling: Pooling) -> None:
        super().__init__()
        self.pooling = pooling
        self.norms = nn.ModuleList(norm(channels) for _ in range(2))
        self.convs = nn.ModuleList(conv3x3(channels, channels, bias=False) for _ in range(2))

    def forward(self, x: Tensor, level: Level) -> Tensor:
        x = path = elu(x)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            path = conv(self.pooling(norm(path, level)))
            x = x + path
        return x


class RefineBlock(nn.Module):
    """One cascade of RefineNet: residual conv units per input, fusion, chained pooling, residual conv units.

    Args:
        in_channels: of each input; the first input has the resolution of the output.
        out_channels: of the output.
        norm: makes the normalisations.
        pooling: of the chained residual pooling.
        num_output_units: residual conv units at the end, 1, and 3 in the last cascade.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        norm: Norm,
        *,
        pooling: Pooling = average_pool,
        num_output_units: int = 1,
    ) -> None:
        super().__init__()
        self.adapt = nn.ModuleList(ResidualConvUnits(c, 2, norm) for c in in_channels)
        self.fuse = MultiResolutionFusion(in_channels, out_channels, norm) if len(in_channels) > 1 else None
        self.pool = ChainedResidualPooling(out_channels, norm, pooling)
        self.output = ResidualConvUnits(out_channels, num_output_units, norm)

    def forward(self, inputs: Sequence[Tensor], level: Level) -> Tensor:
        adapted = [adapt(x, level) for adapt, x in zip(self.adapt, inputs, strict=True)]
        h = adapted[0] if self.fuse is None else self.fuse(adapted, level)
        return self.output(self.pool(h, level), level)
