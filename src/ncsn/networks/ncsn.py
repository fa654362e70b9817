"""The noise conditional score network of Song & Ermon 2019 (App. A): a 4-cascaded RefineNet."""

from functools import partial

from torch import Tensor

from ncsn.networks.blocks import CondInstanceNormPlusPlus
from ncsn.networks.refinenet import RefineNet, StageShape


class NCSN(RefineNet):
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
        norm = partial(CondInstanceNormPlusPlus, num_levels=len(sigmas))
        stages = [
            StageShape(1),
            StageShape(2, downsample=True),
            StageShape(2, dilation=2),
            StageShape(2, dilation=4),
        ]
        super().__init__(in_channels, num_filters, image_size, stages, norm, refine_norm=norm)
        self.sigmas: Tensor
        self.register_buffer("sigmas", sigmas.clone(), persistent=False)

    def level(self, sigma: Tensor) -> Tensor:
        """Index of the level nearest to each σ: (B,) -> (B,), int64."""
        return (sigma.log()[:, None] - self.sigmas.log()).abs().argmin(dim=1)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The score at images x (B, C, H, W), pixel values around [0, 1], under noise sigma (B,)."""
        return self.run(x, self.level(sigma))
