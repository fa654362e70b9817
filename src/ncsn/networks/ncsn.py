"""The noise conditional score network of Song & Ermon 2019 (App. A): a 4-cascaded RefineNet."""

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from ncsn.networks.blocks import CondInstanceNormPlusPlus, RefineBlock, ResidualBlock, Stage, conv3x3


class NCSN(nn.Module):
    """s(x, σ): four residual stages down, four refine blocks back up, conditioned on σ by CondInstanceNorm++.

    The network knows the levels it was built for; any other σ is taken for the nearest of them (in log σ).
    The output is the score itself, with no division by σ.

    Args:
        sigmas: the noise levels σ₁ > … > σ_L, shape (L,).
        image_size: height and width of the images in pixels; even, because the second stage halves it.
        in_channels: C of the images.
        num_filters: F, filters of the first cascade; 128 for CIFAR-10 and CelebA, 64 for MNIST.

    Raises:
        ValueError: a value out of range.
    """

    def __init__(self, sigmas: Tensor, *, image_size: int, in_channels: int = 3, num_filters: int = 128) -> None:
        super().__init__()
        if image_size < 4 or image_size % 2:
            raise ValueError(f"image_size={image_size}: must be even and at least 4, since the network halves it")
        if in_channels < 1:
            raise ValueError(f"in_channels={in_channels}: must be at least 1")
        if num_filters < 2:
            raise ValueError(f"num_filters={num_filters}: must be at least 2")

        self.sigmas: Tensor
        self.register_buffer("sigmas", sigmas.clone(), persistent=False)
        f = num_filters
        norm = partial(CondInstanceNormPlusPlus, num_levels=len(sigmas))
        block = partial(ResidualBlock, norm=norm)

        self.stem = conv3x3(in_channels, f)
        self.stages = nn.ModuleList(
            [
                Stage([block(f, f), block(f, f)]),
                Stage([block(f, 2 * f, first=True, downsample=True), block(2 * f, 2 * f)]),
                Stage([block(2 * f, 2 * f, first=True, dilation=2), block(2 * f, 2 * f, dilation=2)]),
                Stage([block(2 * f, 2 * f, first=True, dilation=4), block(2 * f, 2 * f, dilation=4)]),
            ]
        )
        self.refine = nn.ModuleList(
            [
                RefineBlock([2 * f], 2 * f, norm),
                RefineBlock([2 * f, 2 * f], 2 * f, norm),
                RefineBlock([2 * f, 2 * f], f, norm),
                RefineBlock([f, f], f, norm, num_output_units=3),
            ]
        )
        self.head_norm = norm(f)
        self.head = conv3x3(f, in_channels)

    def level(self, sigma: Tensor) -> Tensor:
        """Index of the level nearest to each σ: (B,) -> (B,), int64."""
        return (sigma.log()[:, None] - self.sigmas.log()).abs().argmin(dim=1)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The score at images x (B, C, H, W), pixel values around [0, 1], under noise sigma (B,)."""
        level = self.level(sigma)
        h = self.stem(2 * x - 1)
        features = []
        for stage in self.stages:
            h = stage(h, level)
            features.append(h)

        h = self.refine[0]([features.pop()], level)
        for refine in self.refine[1:]:
            h = refine([features.pop(), h], level)
        return self.head(F.elu(self.head_norm(h, level)))
