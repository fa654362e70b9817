"""The network against the authors' outputs, the formula of its norm, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ncsn import noise
from ncsn.checkpoint.authors import rename_authors_state
from ncsn.networks import NCSN, Preconditioned
from ncsn.networks.blocks import Between, CondInstanceNormPlusPlus, MeanPooledConv, NoNorm, ResidualBlock
from ncsn.networks.forms import Form

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
    x, position = 3 + torch.randn(4, 6, 5, 7, dtype=torch.float64), torch.tensor([0, 2, 0.25, 1.5])
    sets = norm.embed.weight
    rows = torch.stack([sets[0], sets[2], 0.75 * sets[0] + 0.25 * sets[1], (sets[1] + sets[2]) / 2])
    gamma, alpha, beta = rows[..., None, None].chunk(3, dim=1)
    mu, s = x.mean((2, 3), keepdim=True), (x.var((2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    m, v = mu.mean(1, keepdim=True), (mu.var(1, keepdim=True) + 1e-5).sqrt()
    expected = gamma * ((x - mu) / s + alpha * (mu - m) / v) + beta
    torch.testing.assert_close(norm(x, Between.at(position)), expected)


@pytest.mark.parametrize(("size", "channels", "filters"), [(8, 1, 4), (10, 2, 6), (32, 3, 8), (64, 3, 4)])
def test_any_even_size_any_channels_any_width(size: int, channels: int, filters: int) -> None:
    sigmas = noise.geometric()
    net = NCSN(sigmas, image_size=size, in_channels=channels, num_filters=filters)
    x = torch.rand(2, channels, size, size)
    assert net(x, sigmas[[0, 9]]).shape == x.shape


def small(sigmas: torch.Tensor) -> NCSN:
    torch.manual_seed(0)
    return NCSN(sigmas, image_size=8, in_channels=1, num_filters=4).requires_grad_(False)


def test_between_two_levels_their_embeddings_are_interpolated_in_log_sigma() -> None:
    sigmas = torch.tensor([1.0, 0.5, 0.125])
    net, middle = small(sigmas), small(sigmas)
    x = torch.rand(1, 1, 8, 8)
    for module in middle.modules():
        if isinstance(module, CondInstanceNormPlusPlus):
            module.embed.weight[1] = module.embed.weight[1:].mean(0)
    torch.testing.assert_close(net(x, torch.tensor([0.25])), middle(x, sigmas[1:2]))
    above, between, below = net(x.expand(3, -1, -1, -1), torch.tensor([0.5, 0.25, 0.125]))
    assert min((above - between).norm(), (below - between).norm()) > 1e-3 * between.norm()


def test_beyond_its_levels_the_score_of_the_end_is_scaled() -> None:
    sigmas = noise.geometric(1, 0.01, 5)
    net, x = small(sigmas), torch.rand(1, 1, 8, 8)
    torch.testing.assert_close(net(x, torch.tensor([4.0])), net(x, sigmas[:1]) / 4)
    torch.testing.assert_close(net(x, torch.tensor([0.005])), net(x, sigmas[-1:]) * 2)


def test_at_no_noise_level_there_is_no_score() -> None:
    """Rather than that of some level; the other rows are what they are."""
    sigmas = noise.geometric(1, 0.01, 5)
    net, x = small(sigmas), torch.rand(1, 1, 8, 8)
    out = net(x.expand(4, -1, -1, -1), torch.tensor([0.0, -1.0, torch.nan, 0.01]))
    assert out[:3].isnan().all()
    torch.testing.assert_close(out[3:], net(x, sigmas[-1:]))


@pytest.mark.parametrize("form", ["edm", "ddpm", "v"])
def test_in_a_form_the_refinenet_is_f_given_the_place_among_the_levels(form: Form) -> None:
    sigmas = torch.tensor([1.0, 0.5, 0.125])
    torch.manual_seed(0)
    net = NCSN(sigmas, image_size=8, in_channels=1, num_filters=4, form=form).double()
    refinenet = small(sigmas).double()
    refinenet.load_state_dict(net.state_dict())  # the same parameters, whatever they stand for
    x, sigma = torch.rand(5, 1, 8, 8).double(), torch.tensor([4.0, 0.5, 0.25, 0.125, 0.02]).double()
    place = Between.at(torch.tensor([0.0, 1.0, 1.5, 2.0, 2.0]))

    class F(torch.nn.Module):
        def forward(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
            return refinenet.run((x + 1) / 2, place)

    torch.testing.assert_close(net(x, sigma), Preconditioned(F(), form, sigmas)(x, sigma))
    assert not net(x[:3], torch.tensor([0.0, -1.0, torch.nan]).double()).isfinite().any()


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
        ({"image_size": 8, "form": "x0"}, "form=x0: must be edm, ddpm, v"),
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
