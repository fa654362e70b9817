"""The network against the authors' outputs, the formula of its norm, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ncsn import noise
from ncsn.checkpoint.authors import rename_authors_state
from ncsn.networks import NCSN
from ncsn.networks.blocks import CondInstanceNormPlusPlus, MeanPooledConv, NoNorm, ResidualBlock

REFERENCE = Path(__file__).parent.parent / "reference"


def load_reference(name: str) -> tuple[NCSN, dict[str, np.ndarray]]:
    reference = dict(np.load(REFERENCE / f"{name}.npz"))
    sigmas = noise.geometric(
        float(reference["sigma_begin"]), float(reference["sigma_end"]), int(reference["num_classes"])
    )
    _, channels, size, _ = reference["x"].shape
    net = NCSN(sigmas, image_size=size, in_channels=channels, num_filters=int(reference["ngf"]))
    state = torch.load(REFERENCE / f"{name}.pth", weights_only=True)[0]
    net.load_state_dict(rename_authors_state(state))
    return net, reference


@pytest.mark.parametrize("name", ["ncsn_mnist", "ncsn_cifar10"])
def test_output_equals_the_authors(name: str) -> None:
    net, reference = load_reference(name)
    x, level = torch.from_numpy(reference["x"]), torch.from_numpy(reference["y"])
    with torch.no_grad():
        out = net(x, net.sigmas[level])
    expected = torch.from_numpy(reference["out"])
    assert expected.abs().max() > 0.1  # the comparison is of something
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("kwargs", "parameters"),
    [
        ({"image_size": 28, "in_channels": 1, "num_filters": 64}, 7_638_657),
        ({"image_size": 32, "in_channels": 3, "num_filters": 128}, 30_117_635),
    ],
    ids=["mnist", "cifar10"],
)
def test_has_the_papers_number_of_parameters(kwargs: dict, parameters: int) -> None:
    with torch.device("meta"):
        net = NCSN(torch.ones(10), **kwargs)
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_norm_is_its_formula() -> None:
    torch.manual_seed(0)
    norm = CondInstanceNormPlusPlus(6, num_levels=3).double()
    torch.nn.init.normal_(norm.embed.weight)
    x, level = 3 + torch.randn(4, 6, 5, 7, dtype=torch.float64), torch.tensor([0, 2, 1, 2])
    gamma, alpha, beta = norm.embed(level)[..., None, None].chunk(3, dim=1)
    mu, s = x.mean((2, 3), keepdim=True), (x.var((2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    m, v = mu.mean(1, keepdim=True), (mu.var(1, keepdim=True) + 1e-5).sqrt()
    expected = gamma * ((x - mu) / s + alpha * (mu - m) / v) + beta
    torch.testing.assert_close(norm(x, level), expected)


@pytest.mark.parametrize(("size", "channels", "filters"), [(8, 1, 4), (10, 2, 6), (32, 3, 8), (64, 3, 4)])
def test_any_even_size_any_channels_any_width(size: int, channels: int, filters: int) -> None:
    sigmas = noise.geometric()
    net = NCSN(sigmas, image_size=size, in_channels=channels, num_filters=filters)
    x = torch.rand(2, channels, size, size)
    assert net(x, sigmas[[0, 9]]).shape == x.shape


def test_sigma_selects_the_nearest_level() -> None:
    sigmas = noise.geometric(1, 0.01, 10)
    net = NCSN(sigmas, image_size=8, num_filters=4)
    assert net.level(sigmas).tolist() == list(range(10))
    assert net.level(torch.tensor([7.0, 1e-4, 0.62])).tolist() == [0, 9, 1]


def test_every_level_has_its_own_conditioning() -> None:
    net = NCSN(noise.geometric(), image_size=8, in_channels=1, num_filters=4)
    x = torch.rand(1, 1, 8, 8).expand(10, -1, -1, -1)
    out = net(x, net.sigmas)
    assert (out[:, None] - out[None]).flatten(2).norm(dim=2)[~torch.eye(10, dtype=bool)].min() > 0


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"image_size": 27}, "image_size=27: must be even"),
        ({"image_size": 8, "in_channels": 0}, "in_channels=0"),
        ({"image_size": 8, "num_filters": 1}, "num_filters=1"),
    ],
)
def test_refuses_by_name(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NCSN(torch.ones(1), **kwargs)


def test_a_mean_pooled_convolution_is_a_convolution_and_a_mean() -> None:
    torch.manual_seed(0)
    conv = MeanPooledConv(3, 5).double()
    x = torch.randn(2, 3, 6, 8, dtype=torch.float64, requires_grad=True)
    expected = F.avg_pool2d(F.conv2d(x, conv.weight, conv.bias, padding=1), 2)
    torch.testing.assert_close(conv(x), expected)
    given, weight = [x, *conv.parameters()], torch.randn_like(expected)
    found, right = (torch.autograd.grad((weight * y).sum(), given) for y in (conv(x), expected))
    torch.testing.assert_close(found, right)


def test_a_block_halves_the_resolution_or_dilates() -> None:
    with pytest.raises(ValueError, match="dilation=2"):
        ResidualBlock(2, 2, NoNorm, downsample=True, dilation=2)
