"""Scores from energies: s(x, σ) = −∇ₓE(x, σ) for any scalar network E (Song & Ermon 2019, Sec. 6).

A density known up to its constant, q_σ(x) = exp(−E(x, σ))/Z(σ), has the score −∇ₓE(x, σ), in which Z is gone. So an
energy is trained by any objective that trains a score, and sampled by any sampler; and since differences of energy
are differences of log-density, a sampler can also reject (MALA, HMC), which a score alone does not allow.
"""

import torch
from torch import Tensor, nn


class EnergyScore(nn.Module):
    """The score of an energy network.

    It can be called where no gradients are recorded, as samplers do, and can be differentiated again, as training
    does: once in the parameters by denoising, once more in x by sliced and exact score matching.

    Args:
        network: E(x, σ), called with x (B, …) and sigma (B,), returns (B,); no row's energy depends on another row.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def energy(self, x: Tensor, sigma: Tensor) -> Tensor:
        """E(x, σ) up to a constant for each σ: (B, …), (B,) -> (B,).

        Raises:
            ValueError: the network returns anything but one number per row.
        """
        energy = self.network(x, sigma)
        if energy.shape != x.shape[:1]:
            raise ValueError(
                f"the energy network returned {tuple(energy.shape)} for {len(x)} rows: must be one number per row, "
                f"({len(x)},)"
            )
        return energy

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """−∇ₓE(x, σ): (B, …), (B,) -> (B, …)."""
        return -torch.func.grad(lambda x: self.energy(x, sigma).sum())(x)
