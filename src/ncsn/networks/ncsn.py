"""The noise conditional score network of Song & Ermon 2019 (App. A): a 4-cascaded RefineNet."""

from functools import partial

from torch import Tensor

from ncsn.networks.blocks import Between, CondInstanceNormPlusPlus
from ncsn.networks.forms import Form, check_form, in_form
from ncsn.networks.refinenet import RefineNet, StageShape
from ncsn.noise import position
from ncsn.score import expand


class NCSN(RefineNet):
    """s(x, σ): four residual stages down, four refine blocks back up, conditioned on σ by CondInstanceNorm++.

    The network is trained at the levels it was built for. Between two of them it interpolates their embeddings,
    linearly in log σ; beyond the ends it scales the end's score by σ_end/σ, as the length of a score goes with 1/σ.
    At σ ≤ 0 or NaN the score is NaN. The output is the score itself, with no division by σ.

    In a form the RefineNet is F of `ncsn.networks.forms`, conditioned in the same way: on the place of σ among the
    levels, which beyond the ends is that of the end, while all else goes on with σ.

    Args:
        sigmas: the noise levels σ₁ > … > σ_L, shape (L,).
        image_size: height and width of the images in pixels; even, because the second stage halves it.
        in_channels: C of the images.
        num_filters: F, filters of the first cascade; 128 for CIFAR-10 and CelebA, 64 for MNIST.
        form: None as in the paper; "edm", "ddpm" or "v", what the RefineNet stands for otherwise.

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
        form: Form | None = None,
    ) -> None:
        if form is not None:
            check_form(form)
        norm = partial(CondInstanceNormPlusPlus, num_levels=len(sigmas))
        stages = [
            StageShape(1),
            StageShape(2, downsample=True),
            StageShape(2, dilation=2),
            StageShape(2, dilation=4),
        ]
        super().__init__(in_channels, num_filters, image_size, stages, norm, refine_norm=norm)
        self.form = form
        self.sigmas: Tensor
        self.register_buffer("sigmas", sigmas.clone(), persistent=False)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The score at images x (B, C, H, W), pixel values around [0, 1], under noise sigma (B,)."""
        level = Between.at(position(sigma, self.sigmas))
        if self.form is not None:
            return in_form(self.form, lambda x, _: self.run_rescaled(x, level), x, sigma, self.sigmas)
        s = self.run(x, level)
        beyond = sigma.clamp(self.sigmas[-1], self.sigmas[0]) / sigma  # exactly 1 from the first level to the last
        return s * expand(beyond, s).to(s.dtype)
