"""A score whose denoised image is clipped."""

import torch
from torch import Tensor

from ncsn.score import Clipped


def test_the_denoised_image_is_clipped_and_nothing_else() -> None:
    x, sigma = 3 * torch.rand(4, 1, 5, 5, dtype=torch.float64) - 1, torch.tensor([2.0, 1.0, 0.5, 0.1]).double()

    def score(x: Tensor, sigma: Tensor) -> Tensor:
        return (0.5 - x) / (2 * sigma.view(4, 1, 1, 1) ** 2)  # denoised: (x + ½)/2, from −¼ to 1¼

    clipped = x + sigma.view(4, 1, 1, 1) ** 2 * Clipped(score)(x, sigma)
    torch.testing.assert_close(clipped, ((x + 0.5) / 2).clamp(0, 1))
    assert (clipped.min(), clipped.max()) == (0, 1)
