"""What the U-Net of DDPM is built of (Ho, Jain & Abbeel 2020, App. B, and their released code).

`rescaled` and `resample` are what DDPM++ changes in it (Song et al. 2021, App. H).
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ncsn.networks.blocks import conv3x3
from ncsn.networks.dropout import Dropout

MOST_BLOCKS = 64  # per resolution; a file may state any number, and each block takes time to build


class Embedding(nn.Module):
    """c (B,) → sines and cosines of c · 10⁴^(−i/(n−1)), i < n = channels/2 → Linear → swish → Linear, (B, width).

    In float32, also under autocast: in bfloat16 levels a few per cent apart would become one.

    Args:
        channels: sines and cosines.
        width: of the result.
        cosine_first: cosines before sines.
        frequency_shift: what n is reduced by in the exponent; 0 or 1.
        num_labels: numbers that may come with c; a matrix takes them to what is added to the sines and cosines.
    """

    frequencies: Tensor

    def __init__(
        self,
        channels: int,
        width: int,
        cosine_first: bool = False,
        frequency_shift: int = 1,
        num_labels: int | None = None,
    ) -> None:
        super().__init__()
        half, self.cosine_first = channels // 2, cosine_first
        exponents = torch.arange(half, dtype=torch.float64)
        frequencies = torch.exp(-math.log(10_000) / (half - frequency_shift) * exponents)
        self.register_buffer("frequencies", frequencies.float(), persistent=False)
        self.linear1, self.linear2 = nn.Linear(channels, width), nn.Linear(width, width)
        self.labels = None if num_labels is None else nn.Linear(num_labels, channels, bias=False)

    def forward(self, c: Tensor, labels: Tensor | None = None) -> Tensor:
        """Labels (B, num_labels), with None for zeros."""
        angles = c[:, None] * self.frequencies
        sine, cosine = angles.sin(), angles.cos()
        waves = torch.cat([cosine, sine] if self.cosine_first else [sine, cosine], dim=1)
        with torch.autocast(c.device.type, enabled=False):
            waves = waves.to(self.linear1.weight.dtype)
            if self.labels is not None and labels is not None:
                waves = waves + self.labels(labels.to(waves.dtype))
            return self.linear2(F.silu(self.linear1(waves)))


class GroupNorm(nn.GroupNorm):
    """`torch.nn.GroupNorm`; compiled, in a form that becomes vector instructions on channels-last features."""

    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_compiling():
            return super().forward(x)
        var, mean = (
            s.unflatten(1, (self.num_groups, -1))
            for s in torch.var_mean(x.to(self.weight.dtype), dim=(2, 3), correction=0)
        )
        center = mean.mean(2, keepdim=True)  # of the group; its variance is that within the channels and between them
        inverse = (var + (mean - center).square()).mean(2, keepdim=True).add(self.eps).rsqrt()
        scale = self.weight.unflatten(0, (self.num_groups, -1)) * inverse
        shift = self.bias - (scale * center).flatten(1)
        scale, shift = torch.stack([scale.flatten(1), shift])  # otherwise both are computed anew at every pixel
        return x * scale[..., None, None] + shift[..., None, None]


class UNetBlock(nn.Module):
    """Residual block, with self-attention after it on demand: (B, in_channels, H, W) → (B, out_channels, H, W).

    Args:
        in_channels, out_channels: where they differ the shortcut is a 1×1 convolution.
        width: of the embedding.
        num_groups: of the normalisations; divides the channels.
        dropout: before the second convolution.
        attention: whether attention follows.
        norm_eps: of the normalisations.
        head_dim: channels per head of attention; None for one head.
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
        norm_eps: float = 1e-6,
        head_dim: int | None = None,
        rescaled: bool = False,
        resample: Literal["down", "up"] | None = None,
    ) -> None:
        super().__init__()
        self.resample, self.rescaled = resample, rescaled
        self.norm1 = GroupNorm(num_groups, in_channels, norm_eps)
        self.conv1 = conv3x3(in_channels, out_channels)
        self.embed = nn.Linear(width, out_channels)
        self.norm2 = GroupNorm(num_groups, out_channels, norm_eps)
        self.dropout = Dropout(dropout)
        self.conv2 = conv3x3(out_channels, out_channels)
        changes = in_channels != out_channels or resample is not None
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1) if changes else None
        self.attention = SelfAttention(out_channels, num_groups, norm_eps, head_dim, rescaled) if attention else None

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
    """x + out(softmax(qᵀk/√C) v), C the channels of a head, over all pixels of a feature map.

    Args:
        channels: of all heads.
        num_groups, norm_eps: of the normalisation.
        head_dim: C, divides `channels`; None for one head.
        rescaled: the sum is divided by √2.

    Raises:
        ValueError: `head_dim` does not divide `channels`.
    """

    def __init__(self, channels: int, num_groups: int, norm_eps: float, head_dim: int | None, rescaled: bool) -> None:
        super().__init__()
        if head_dim is not None and (head_dim < 1 or channels % head_dim):
            raise ValueError(f"head_dim={head_dim}: must divide the {channels} channels that attention is paid to")
        self.num_heads, self.rescaled = channels // (head_dim or channels), rescaled
        self.norm = GroupNorm(num_groups, channels, norm_eps)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pixels = self.qkv(self.norm(x)).flatten(2).transpose(1, 2)  # (B, H·W, 3C), channels-last without a copy
        q, k, v = (part.unflatten(2, (self.num_heads, -1)).transpose(1, 2) for part in pixels.chunk(3, dim=2))
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return _sum(x, self.out(h.transpose(1, 2).unflatten(2, x.shape[2:])), self.rescaled)


class Downsample(nn.Module):
    """A 3×3 convolution of stride 2, padded on the right and at the bottom only, or on all sides (`symmetric`)."""

    def __init__(self, channels: int, symmetric: bool = False) -> None:
        super().__init__()
        self.padding = (1, 1, 1, 1) if symmetric else (0, 1, 0, 1)
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, self.padding))


class Upsample(nn.Module):
    """Every pixel four times, then a 3×3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3x3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def beside(x: Tensor, damaged: Tensor | None, channels: int | None) -> Tensor:
    """x (B, C, H, W) with the damaged image as further channels, of a network that is given so many; None for none.

    x is c_in·u, of about unit variance at every σ. The damaged image has no noise of level σ on it: as 2·damaged − 1,
    in [−1, 1], it has about that variance as it is, and does not fade where σ is large and it says most.

    Raises:
        ValueError: there is no such image, or the network is given none.
    """
    if channels is None and damaged is not None:
        raise ValueError("damaged: this network is given no image (condition_channels)")
    if channels is None:
        return x
    if damaged is None:
        raise ValueError(
            "damaged: this network restores images, and is given the damaged ones, network(x, sigma, damaged=…)"
        )
    return torch.cat([x, (2 * damaged - 1).to(x.dtype)], dim=1)


def check_sizes(
    image_size: int,
    in_channels: int,
    num_filters: int,
    multipliers: Sequence[int],
    num_blocks: int,
    dropout: float,
    num_groups: int,
) -> None:
    """Raises ValueError for sizes of a U-Net that are none, or do not go together."""
    if in_channels < 1:
        raise ValueError(f"in_channels={in_channels}: must be at least 1")
    if num_filters < 4 or num_filters % 2:
        raise ValueError(f"num_filters={num_filters}: must be even and at least 4")
    if not 1 <= len(multipliers) <= 16 or min(multipliers) < 1:
        raise ValueError(f"multipliers={list(multipliers[:17])}: must be 1 to 16 positive integers")
    if not 1 <= num_blocks <= MOST_BLOCKS:
        raise ValueError(f"num_blocks={num_blocks}: must be from 1 to {MOST_BLOCKS}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout}: must be at least 0 and below 1")
    if num_groups < 1 or num_filters % num_groups:
        raise ValueError(f"num_groups={num_groups}: must divide num_filters={num_filters}")
    factor = 2 ** (len(multipliers) - 1)
    if image_size < factor or image_size % factor:
        raise ValueError(
            f"image_size={image_size}: must be a multiple of {factor}, since multipliers={list(multipliers)} "
            f"halve it {len(multipliers) - 1} times"
        )
