"""The network of Song & Ermon 2019 as an energy, whose gradient is the score."""

from torch import Tensor, nn

from ncsn.energy import EnergyScore
from ncsn.networks.ncsn import NCSN
from ncsn.score import expand


class ResidualEnergy(nn.Module):
    """E(x, σ) = ½‖(2x − 1)/√(1 + 4σ²) + σ f(x, σ)‖², f a network with as many outputs as inputs.

    The squared norm of a residual is the form of Salimans & Ho (2021), who show that such an energy learns as well as
    a score does. With f = 0 it is the energy of N(½, (¼ + σ²) I), pixels of mean ½ and standard deviation ½ plus the
    noise; f says how images differ from that. As f ends in a normalised layer it is bounded, hence E grows as ‖x‖²
    does, and exp(−E) can be normalised at every σ.

    Args:
        network: f; between and beyond its levels it is what `NCSN` makes of it, while the rest takes σ itself.
    """

    def __init__(self, network: NCSN) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """E(x, σ): (B, C, H, W), (B,) -> (B,)."""
        f = self.network(x, sigma).to(x.dtype)  # differences of energies need full precision
        sigma = expand(sigma, x)
        residual = (2 * x - 1) * (1 + 4 * sigma**2).rsqrt() + sigma * f
        return residual.square().flatten(1).sum(1) / 2


class EnergyNCSN(EnergyScore):
    """s(x, σ) = −∇E(x, σ), E made of an `NCSN`, with the same arguments and number of parameters.

    A training step takes a little more than twice the time of an `NCSN`'s.

    Args:
        sigmas: the noise levels σ₁ > … > σ_L, shape (L,).
        image_size: height and width of the images in pixels; even, because the second stage halves it.
        in_channels: C of the images.
        num_filters: F, filters of the first cascade.

    Raises:
        ValueError: a value out of range.
    """

    def __init__(self, sigmas: Tensor, *, image_size: int, in_channels: int = 3, num_filters: int = 128) -> None:
        network = NCSN(sigmas, image_size=image_size, in_channels=in_channels, num_filters=num_filters)
        super().__init__(ResidualEnergy(network))
