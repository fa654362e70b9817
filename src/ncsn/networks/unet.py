"""The U-Net of DDPM (Ho, Jain & Abbeel, NeurIPS 2020, App. B, and their released code).

c → sinusoids → Linear → swish → Linear                                  the embedding, + that of a label
x → conv                                                                 the first skip
  → at every resolution: `num_blocks` blocks, then halved                each output a skip
  → block, attention, block
  → at every resolution: `num_blocks` + 1 blocks, each beside a skip, then doubled
  → GroupNorm → swish → conv

block: x + conv(dropout(swish(GroupNorm( conv(swish(GroupNorm(x))) + Linear(swish(embedding)) ))))

DDPM++ (Song et al., ICLR 2021, App. H, and their released code) changes three things: every sum of a branch and its
shortcut is divided by √2; residual blocks halve and double the resolution; and on the way up, attention follows the
last block of a resolution only.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ncsn.networks.blocks import Float32Conv
from ncsn.networks.forms import Form, Preconditioned
from ncsn.networks.unet_blocks import (
    Downsample,
    Embedding,
    GroupNorm,
    SelfAttention,
    UNetBlock,
    Upsample,
    beside,
    check_sizes,
)

Blocks = Literal["ddpm", "ddpm++"]


class UNet(Preconditioned):
    """s(x, σ): the U-Net of DDPM in one of the forms, by default EDM's.

    It takes any σ; what the forms `ddpm` and `v` make of one between the levels or beyond them, `ncsn.networks.forms`
    says.

    Args:
        sigmas: the noise levels σ₁ > … > σ_L, shape (L,).
        form: what F stands for: "edm", "ddpm" (the noise) or "v" (the velocity).
        image_size: height and width of the images in pixels; the halvings must divide it.
        in_channels: C of the images.
        num_filters: channels at full resolution; even, at least 4.
        multipliers: channels at each resolution, in units of `num_filters`; from one to the next it halves.
        num_blocks: residual blocks per resolution on the way down; one more on the way up.
        blocks: "ddpm", or "ddpm++" as Song et al. 2021 changed them.
        attention_resolutions: heights in pixels at which self-attention follows the blocks. There is always one
            between the two middle blocks.
        dropout: probability with which a feature is dropped in training, in every block.
        num_groups: of the normalisations; None takes 32, fewer below 128 filters.
        norm_eps: what they add to a variance. This and the next are as in DDPM's code; diffusers has other defaults.
        head_dim: channels per head of attention; None for one head.
        cosine_first: the embedding's cosines come before its sines.
        frequency_shift: 1 or 0; with 0 the embedding's smallest frequency is a little above 10⁻⁴.
        symmetric_padding: a halving pads on all sides, not only on the right and at the bottom; not with "ddpm++",
            whose halvings need no padding.
        checkpointing: recompute the features of each block when gradients are needed, rather than keep them: much
            less memory for about a third more time. The gradients are the same. Not together with exact score
            matching.
        num_classes: K, for a network that is given the class of each image, `label` (B,) from 0 to K − 1. K is no
            class, and what it takes where no label is given. None for a network without.
        num_augmentation_labels: 9, for a network that is told how its images were augmented, `augmentation` (B, 9);
            where it is not, nothing was done to them (Karras et al. 2022, App. F.2). None for a network without.
        condition_channels: of the image that the network is always given beside x, `damaged` (B, C, H, W), pixels
            around [0, 1] (Saharia et al. 2022). None for a network without.
        residual: it is the score of what images differ by from the damaged ones, so many times enlarged, or as it is
            (True); False for that of the images themselves. See `ncsn.score.score_given`.

    Raises:
        ValueError: a value out of range.
    """

    def __init__(
        self,
        sigmas: Tensor,
        *,
        form: Form = "edm",
        image_size: int,
        in_channels: int = 3,
        num_filters: int = 128,
        multipliers: Sequence[int] = (1, 2, 2, 2),
        num_blocks: int = 2,
        blocks: Blocks = "ddpm",
        attention_resolutions: Sequence[int] = (16,),
        dropout: float = 0.0,
        num_groups: int | None = None,
        norm_eps: float = 1e-6,
        head_dim: int | None = None,
        cosine_first: bool = False,
        frequency_shift: int = 1,
        symmetric_padding: bool = False,
        checkpointing: bool = False,
        num_classes: int | None = None,
        num_augmentation_labels: int | None = None,
        condition_channels: int | None = None,
        residual: float | bool = False,
    ) -> None:
        network = BareUNet(
            image_size=image_size,
            in_channels=in_channels,
            num_filters=num_filters,
            multipliers=multipliers,
            num_blocks=num_blocks,
            blocks=blocks,
            attention_resolutions=attention_resolutions,
            dropout=dropout,
            num_groups=num_groups,
            norm_eps=norm_eps,
            head_dim=head_dim,
            cosine_first=cosine_first,
            frequency_shift=frequency_shift,
            symmetric_padding=symmetric_padding,
            checkpointing=checkpointing,
            num_classes=num_classes,
            num_augmentation_labels=num_augmentation_labels,
            condition_channels=condition_channels,
        )
        super().__init__(network, form, sigmas)
        if not 0 <= residual < math.inf:
            raise ValueError(f"residual={residual}: must be at least 0, and finite")
        self.checkpointing, self.num_classes = checkpointing, num_classes
        self.condition_channels, self.residual = condition_channels, residual


class BareUNet(nn.Module):
    """F(x, c, label, augmentation, damaged) of `UNet`, which has the arguments: (B, C, H, W), (B,) to (B, C, H, W).

    Before training F = 0: the last convolutions of the network, of its blocks and of its attention are zero.
    """

    def __init__(
        self,
        *,
        image_size: int,
        in_channels: int,
        num_filters: int,
        multipliers: Sequence[int],
        num_blocks: int,
        attention_resolutions: Sequence[int],
        dropout: float,
        num_groups: int | None,
        norm_eps: float,
        head_dim: int | None,
        cosine_first: bool,
        frequency_shift: int,
        symmetric_padding: bool,
        checkpointing: bool,
        blocks: Blocks = "ddpm",
        num_classes: int | None = None,
        num_augmentation_labels: int | None = None,
        condition_channels: int | None = None,
    ) -> None:
        super().__init__()
        num_groups = num_groups or groups_for(num_filters)
        if blocks not in get_args(Blocks):
            raise ValueError(f"blocks={blocks}: must be {' or '.join(get_args(Blocks))}")
        if blocks == "ddpm++" and symmetric_padding:
            raise ValueError("symmetric_padding=true: goes with blocks=ddpm, whose convolutions halve the resolution")
        check_sizes(image_size, in_channels, num_filters, multipliers, num_blocks, dropout, num_groups)
        given = {"num_classes": num_classes, "num_augmentation_labels": num_augmentation_labels}
        for name, count in {**given, "condition_channels": condition_channels}.items():
            if count is not None and count < 1:
                raise ValueError(f"{name}={count}: must be at least 1, or null for a network without")
        if not 0 < norm_eps < 1:
            raise ValueError(f"norm_eps={norm_eps}: must lie between 0 and 1")
        if frequency_shift not in (0, 1):
            raise ValueError(f"frequency_shift={frequency_shift}: must be 0 or 1")
        sizes = [image_size // 2**i for i in range(len(multipliers))]
        for size in attention_resolutions:
            if size not in sizes:
                raise ValueError(
                    f"attention_resolutions={list(attention_resolutions)}: the network has features of "
                    f"{', '.join(map(str, sizes))} pixels, none of {size}"
                )
        self.checkpointing, self.dropout = checkpointing, dropout
        width = 4 * num_filters

        plus = blocks == "ddpm++"
        block = partial(
            UNetBlock,
            width=width,
            num_groups=num_groups,
            norm_eps=norm_eps,
            dropout=dropout,
            head_dim=head_dim,
            rescaled=plus,
        )

        def resampling(channels: int, how: Literal["down", "up"]) -> nn.Module:
            if plus:
                return block(channels, channels, attention=False, resample=how)
            return Downsample(channels, symmetric_padding) if how == "down" else Upsample(channels)

        widths = [num_filters * multiplier for multiplier in multipliers]
        stages = list(zip(sizes, widths, strict=True))
        self.embedding = Embedding(num_filters, width, cosine_first, frequency_shift, num_augmentation_labels)
        self.condition_channels = condition_channels
        self.stem = Float32Conv(in_channels + (condition_channels or 0), num_filters, 3, padding=1)
        channels, skips = num_filters, [num_filters]
        down: list[nn.Module] = []
        for size, after in stages:
            for _ in range(num_blocks):
                down.append(block(channels, after, attention=size in attention_resolutions))
                channels = after
                skips.append(channels)
            if size != sizes[-1]:
                down.append(resampling(channels, "down"))
                skips.append(channels)
        self.down = nn.ModuleList(down)
        self.middle = nn.ModuleList([block(channels, channels, attention=attention) for attention in (True, False)])
        up: list[nn.Module] = []
        for size, after in reversed(stages):
            for i in range(num_blocks + 1):
                attention = size in attention_resolutions and (i == num_blocks or not plus)
                up.append(block(channels + skips.pop(), after, attention=attention))
                channels = after
            if size != sizes[0]:
                up.append(resampling(channels, "up"))
        self.up = nn.ModuleList(up)
        self.head_norm = GroupNorm(num_groups, num_filters * multipliers[0], norm_eps)
        self.head = Float32Conv(num_filters * multipliers[0], in_channels, 3, padding=1)
        self.classes = None if num_classes is None else nn.Embedding(num_classes + 1, width)
        self._initialise()

    def _initialise(self) -> None:
        """As in the released code: uniform of variance 1/fan_avg (Glorot & Bengio 2010), biases and last layers 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, UNetBlock):
                nn.init.zeros_(module.conv2.weight)
            elif isinstance(module, SelfAttention):
                for weight in module.qkv.weight.chunk(3):  # three projections, side by side
                    nn.init.xavier_uniform_(weight)
                nn.init.zeros_(module.out.weight)
        nn.init.zeros_(self.head.weight)

    def forward(
        self,
        x: Tensor,
        c: Tensor,
        label: Tensor | None = None,
        augmentation: Tensor | None = None,
        damaged: Tensor | None = None,
    ) -> Tensor:
        embedding = F.silu(self._embedded(c, label, augmentation))
        h = self.stem(beside(x, damaged, self.condition_channels))
        if h.device.type == "cpu":  # whose convolutions and attention are faster on channels-last features
            h = h.movedim(1, -1).contiguous().movedim(-1, 1)
        skips = [h]
        for module in self.down:
            h = self._run(module, h, embedding)
            skips.append(h)
        for block in self.middle:
            h = self._run(block, h, embedding)
        for module in self.up:
            if isinstance(module, UNetBlock) and module.resample is None:
                h = torch.cat([h, skips.pop()], dim=1)
            h = self._run(module, h, embedding)
        return self.head(F.silu(self.head_norm(h)))

    def _embedded(self, c: Tensor, label: Tensor | None, augmentation: Tensor | None) -> Tensor:
        """Of the noise level and the augmentation, plus that of the class (Dhariwal & Nichol 2021, App. A)."""
        if self.embedding.labels is None and augmentation is not None:
            raise ValueError("augmentation: this network is not told of it (num_augmentation_labels)")
        embedding = self.embedding(c, augmentation)
        if self.classes is None:
            if label is not None:
                raise ValueError("label: this network has no classes (num_classes)")
            return embedding
        if label is None:
            label = torch.full(c.shape, self.classes.num_embeddings - 1, device=c.device)
        return embedding + self.classes(label)

    def _run(self, block: nn.Module, x: Tensor, embedding: Tensor) -> Tensor:
        if not isinstance(block, UNetBlock):
            return block(x)
        if self.checkpointing and torch.is_grad_enabled():
            repeated = self.training and self.dropout > 0  # what was dropped must be dropped again
            return checkpoint(block, x, embedding, use_reentrant=False, preserve_rng_state=repeated)
        return block(x, embedding)


def groups_for(num_filters: int) -> int:
    """32 as published for 128 filters and more; below, at least four channels make a group."""
    most = min(32, max(num_filters // 4, 1))
    return next(groups for groups in range(most, 0, -1) if num_filters % groups == 0)
