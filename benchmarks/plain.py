"""The baseline of all comparisons: the same network and method, the way they are usually written and run.

Float32, contiguous memory, PyTorch's own loader, Adam without fusing, the moving average updated parameter by
parameter, and InstanceNorm++ written as its formula (Song & Ermon 2019, App. A.1), one PyTorch module or operation
per term.
"""

import copy
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import record_function
from torch.utils.data import DataLoader, TensorDataset

from ncsn.networks.blocks import EPS, Between, CondInstanceNormPlusPlus, MeanPooledConv


class PlainNorm(CondInstanceNormPlusPlus):
    """CondInstanceNorm++, term by term."""

    def forward(self, x: Tensor, level: Between) -> Tensor:
        gamma, alpha, beta = self.embed(level.levels[0]).chunk(3, dim=-1)  # all that is asked of it are levels
        means = x.mean(dim=(2, 3))
        m, v = means.mean(dim=-1, keepdim=True), means.var(dim=-1, keepdim=True)
        means = (means - m) / torch.sqrt(v + EPS)
        h = F.instance_norm(x, eps=EPS) + means[..., None, None] * alpha[..., None, None]
        return gamma[..., None, None] * h + beta[..., None, None]


class PlainPooledConv(MeanPooledConv):
    """A convolution followed by a mean."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(F.conv2d(x, self.weight, self.bias, padding=1), 2)


PLAIN = {CondInstanceNormPlusPlus: PlainNorm, MeanPooledConv: PlainPooledConv}


def plain_network(network: nn.Module) -> nn.Module:
    """A copy with the same weights, and with every norm and every pooled convolution as above."""
    network = copy.deepcopy(network)
    for module in network.modules():
        module.__class__ = PLAIN.get(type(module), type(module))
    return network


def plain_batches(images: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Endless shuffled float32 batches, from PyTorch's loader with its default settings."""
    loader = DataLoader(TensorDataset(images), batch_size, shuffle=True, drop_last=True)
    while True:
        for (batch,) in loader:
            yield batch.float() / 255


@record_function("moving average")
@torch.no_grad()
def plain_average(averages: nn.Module, network: nn.Module, rate: float = 0.999) -> None:
    for average, now in zip(averages.parameters(), network.parameters(), strict=True):
        average.copy_(rate * average + (1 - rate) * now)


@torch.no_grad()
def plain_langevin(network: nn.Module, x: Tensor, sigmas: Tensor, steps: int, epsilon: float) -> Tensor:
    """Algorithm 1 (Song & Ermon 2019)."""
    for sigma in sigmas:
        alpha = epsilon * (sigma / sigmas[-1]) ** 2
        for _ in range(steps):
            z = torch.randn_like(x)
            s = network(x, sigma * torch.ones(len(x), device=x.device))
            x = x + alpha / 2 * s + torch.sqrt(alpha) * z
    return x
