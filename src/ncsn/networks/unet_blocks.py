"""What the U-Net of DDPM is built of (Ho, Jain & Abbeel 2020, App. B, and their released code).

`rescaled` and `resample` are what DDPM++ changes in it (Song et al. 2021, App. H).
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ncsn.networks.blocks import conv3x3
from ncsn.networks.dropout import Dropout

EPS = 1e-6  # of the normalisations


class Embedding(nn.Module):
    """c (B,) → sines and cosines of c · 10⁴^(−i/(n−1)), i < n = channels/2 → Linear → swish → Linear, (B, width).

    In float32, also under autocast: in bfloat16 levels a few per cent apart would become one.
    """

    frequencies: Tensor

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        half = channels // 2
        frequencies = torch.exp(-math.log(10_000) / (half - 1) * torch.arange(half, dtype=torch.float64))
        self.register_buffer("frequencies", frequencies.float(), persistent=False)
        self.linear1, self.linear2 = nn.Linear(channels, width), nn.Linear(width, width)

    def forward(self, c: Tensor) -> Tensor:
        angles = c[:, None] * self.frequencies
        waves = torch.cat([angles.sin(), angles.cos()], dim=1)
        with torch.autocast(c.device.type, enabled=False):
            return self.linear2(F.silu(self.linear1(waves.to(self.linear1.weight.dtype))))


class UNetBlock(nn.Module):
    """Residual block, with self-attention after it on demand: (B, in_channels, H, W) → (B, out_channels, H, W).

    Args:
        in_channels, out_channels: where they differ the shortcut is a 1×1 convolution.
        width: of the embedding.
        num_groups: of the normalisations; divides the channels.
        dropout: before the second convolution.
        attention: whether attention follows.
        rescaled: divide every sum of a branch and its shortcut by √2, which keeps the variance of two alike.
        resample: "down" halves the resolution before the first convolution and in the shortcut, by the mean of 2×2
            pixels; "up" doubles it, every pixel four times. The shortcut is then a 1×1 convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int,
        *,
        num_groups: int,
        dropout: float,
        attention: bool,
        rescaled: bool = False,
        resample: Literal["down", "up"] | None = None,
    ) -> None:
        super().__init__()
        self.resample, self.rescaled = resample, rescaled
        self.norm1 = nn.GroupNorm(num_groups, in_channels, EPS)
        self.conv1 = conv3x3(in_channels, out_channels)
        self.embed = nn.Linear(width, out_channels)
        self.norm2 = nn.GroupNorm(num_groups, out_channels, EPS)
        self.dropout = Dropout(dropout)
        self.conv2 = conv3x3(out_channels, out_channels)
        changes = in_channels != out_channels or resample is not None
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1) if changes else None
        self.attention = SelfAttention(out_channels, num_groups, rescaled) if attention else None

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Takes the embedding (B, width) after its swish."""
        h = F.silu(self.norm1(x))
        if self.resample is not None:
            h, x = _resampled(h, self.resample), _resampled(x, self.resample)
        h = self.conv1(h)
        h = h + self.embed(embedding)[..., None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        x = _sum(h, x if self.shortcut is None else self.shortcut(x), self.rescaled)
        return x if self.attention is None else self.attention(x)


def _sum(a: Tensor, b: Tensor, rescaled: bool) -> Tensor:
    return (a + b) * math.sqrt(0.5) if rescaled else a + b


def _resampled(x: Tensor, how: Literal["down", "up"]) -> Tensor:
    return F.avg_pool2d(x, 2) if how == "down" else F.interpolate(x, scale_factor=2.0, mode="nearest")


class SelfAttention(nn.Module):
    """x + out(softmax(qᵀk/√C) v), one head, over all pixels of a feature map; divided by √2 if `rescaled`."""

    def __init__(self, channels: int, num_groups: int, rescaled: bool = False) -> None:
        super().__init__()
        self.rescaled = rescaled
        self.norm = nn.GroupNorm(num_groups, channels, EPS)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pixels = self.qkv(self.norm(x)).flatten(2).transpose(1, 2)  # (B, H·W, 3C), channels-last without a copy
        q, k, v = pixels[:, None].chunk(3, dim=-1)
        h = F.scaled_dot_product_attention(q, k, v)[:, 0]
        return _sum(x, self.out(h.transpose(1, 2).unflatten(2, x.shape[2:])), self.rescaled)


class Downsample(nn.Module):
    """A 3×3 convolution of stride 2, padded on the right and at the bottom only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Every pixel four times, then a 3×3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3x3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
