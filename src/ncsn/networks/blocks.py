"""Building blocks of the score networks: normalisation, residual and refine blocks (Song & Ermon 2019, App. A).

Every block is called as block(x, level): feature maps (B, C, H, W) and the noise level's index (B,).
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Norm = Callable[[int], nn.Module]
"""Makes a normalisation of a number of channels; the module is called as norm(x, level)."""


class CondInstanceNormPlusPlus(nn.Module):
    """CondInstanceNorm++ (App. A.1), as the released code computes it:

        z_k = γ_k · ( (x_k − μ_k)/s_k + α_k · (μ_k − m)/v ) + β_k

    with μ_k, s_k mean and standard deviation of channel k over the pixels, m, v mean and standard deviation
    (unbiased) of the C channel means, and one set of γ, α ~ N(1, 0.02), β = 0 a noise level. The paper
    prints α outside γ. The term in α gives back what instance normalisation removes: the channels' relative
    brightness.
    """

    eps = 1e-5

    def __init__(self, channels: int, num_levels: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(num_levels, 3 * channels)
        nn.init.normal_(self.embed.weight[:, : 2 * channels], 1, 0.02)
        nn.init.zeros_(self.embed.weight[:, 2 * channels :])

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        gamma, alpha, beta = self.embed(level).chunk(3, dim=-1)
        mean = x.mean(dim=(2, 3))
        m, v = mean.mean(-1, keepdim=True), mean.var(-1, keepdim=True)
        relative = (mean - m) * (v + self.eps).rsqrt()
        shift = torch.addcmul(beta, gamma, alpha * relative)
        # One group for each channel of each row: instance normalisation with a scale and shift of every row's own.
        rows = x.reshape(1, -1, *x.shape[2:])
        return F.group_norm(rows, rows.shape[1], gamma.flatten(), shift.flatten(), self.eps).view_as(x)


def conv3x3(in_channels: int, out_channels: int, dilation: int = 1, bias: bool = True) -> nn.Conv2d:
    """A 3×3 convolution that keeps the resolution."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation, bias=bias)


class ResidualBlock(nn.Module):
    """Pre-activation residual block: shortcut(x) + conv(ELU(norm(conv(ELU(norm(x)))))).

    Args:
        in_channels, out_channels: of the block; the second convolution changes the number.
        norm: makes the normalisations.
        downsample: halve the resolution by averaging 2×2, in both branches.
        dilation: of both convolutions, in place of further subsampling (App. A.2).
        first: the block opens its stage, so that its shortcut is a convolution.
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
        self.norm1 = norm(in_channels)
        self.conv1 = conv3x3(in_channels, in_channels if first else out_channels, dilation)
        self.norm2 = norm(in_channels if first else out_channels)
        self.conv2 = conv3x3(in_channels if first else out_channels, out_channels, dilation)
        self.downsample = downsample
        self.shortcut: nn.Module | None = None
        if downsample:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1)
        elif first:
            self.shortcut = conv3x3(in_channels, out_channels, dilation)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        h = self.conv1(F.elu(self.norm1(x, level)))
        h = self.conv2(F.elu(self.norm2(h, level)))
        if self.downsample:  # averaging and a 1×1 convolution commute: the smaller image is the cheaper one
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        return h + (x if self.shortcut is None else self.shortcut(x))


class Stage(nn.ModuleList):
    """Residual blocks one after the other."""

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        for block in self:
            x = block(x, level)
        return x


class ResidualConvUnits(nn.Module):
    """`num_units` residual units of 2 × (norm → ELU → 3×3 convolution without bias)."""

    def __init__(self, channels: int, num_units: int, norm: Norm) -> None:
        super().__init__()
        self.norms = nn.ModuleList(norm(channels) for _ in range(2 * num_units))
        self.convs = nn.ModuleList(conv3x3(channels, channels, bias=False) for _ in range(2 * num_units))

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        for i in range(0, len(self.convs), 2):
            h = self.convs[i](F.elu(self.norms[i](x, level)))
            x = x + self.convs[i + 1](F.elu(self.norms[i + 1](h, level)))
        return x


class MultiResolutionFusion(nn.Module):
    """Sum of the inputs, each norm → 3×3 convolution → bilinear resize to one resolution."""

    def __init__(self, in_channels: Sequence[int], out_channels: int, norm: Norm) -> None:
        super().__init__()
        self.norms = nn.ModuleList(norm(c) for c in in_channels)
        self.convs = nn.ModuleList(conv3x3(c, out_channels) for c in in_channels)

    def forward(self, inputs: Sequence[Tensor], level: Tensor) -> Tensor:
        size = inputs[0].shape[2:]
        total: Tensor | None = None
        for norm, conv, x in zip(self.norms, self.convs, inputs, strict=True):
            h = conv(norm(x, level))
            if h.shape[2:] != size:
                h = F.interpolate(h, size, mode="bilinear", align_corners=True)
            total = h if total is None else total + h
        assert total is not None
        return total


class ChainedResidualPooling(nn.Module):
    """ELU, then 2 × (norm → 5×5 average pool of stride 1 → 3×3 convolution without bias), each added."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.norms = nn.ModuleList(norm(channels) for _ in range(2))
        self.convs = nn.ModuleList(conv3x3(channels, channels, bias=False) for _ in range(2))

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        x = path = F.elu(x)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            path = conv(F.avg_pool2d(norm(path, level), 5, stride=1, padding=2))
            x = x + path
        return x


class RefineBlock(nn.Module):
    """One cascade of RefineNet: adapt each input, fuse them, pool in a chain, and put out.

    Args:
        in_channels: of each input; the first input has the resolution of the output.
        out_channels: of the output.
        norm: makes the normalisations.
        num_output_units: residual conv units at the end, 1, and 3 in the last cascade.
    """

    def __init__(
        self, in_channels: Sequence[int], out_channels: int, norm: Norm, *, num_output_units: int = 1
    ) -> None:
        super().__init__()
        self.adapt = nn.ModuleList(ResidualConvUnits(c, 2, norm) for c in in_channels)
        self.fuse = MultiResolutionFusion(in_channels, out_channels, norm) if len(in_channels) > 1 else None
        self.pool = ChainedResidualPooling(out_channels, norm)
        self.output = ResidualConvUnits(out_channels, num_output_units, norm)

    def forward(self, inputs: Sequence[Tensor], level: Tensor) -> Tensor:
        adapted = [adapt(x, level) for adapt, x in zip(self.adapt, inputs, strict=True)]
        h = adapted[0] if self.fuse is None else self.fuse(adapted, level)
        return self.output(self.pool(h, level), level)
