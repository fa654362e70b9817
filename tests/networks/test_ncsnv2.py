"""The networks of NCSNv2 against the authors' outputs, their sizes, and gradient checkpointing."""

from typing import Any

import pytest
import torch
from references import NCSNV2, outputs, reference
from torch import Tensor

from ncsn import load_score, objectives
from ncsn.networks import NCSNv2
from ncsn.networks.blocks import InstanceNormPlusPlus

SIGMAS = torch.ones(1)  # not needed by the network
DEPTHS = ["standard", "deeper", "deepest"]


def small(depth: Any = "deepest", **options: Any) -> NCSNv2:
    torch.manual_seed(0)
    return NCSNv2(SIGMAS, image_size=16, num_filters=4, in_channels=1, depth=depth, **options)


@pytest.mark.parametrize("name", NCSNV2)
def test_output_equals_the_authors(name: str) -> None:
    score, (x, level, expected) = load_score(reference(name)), outputs(name)
    sigma = score.sigmas[level]
    with torch.no_grad():
        out = score(x, sigma)
    sigma = sigma[:, None, None, None]
    assert (sigma * expected).abs().max() > 0.1  # the comparison is of something
    # s = f/σ: what float32 rounds is f = σs, and σs is what the loss compares with the noise.
    torch.testing.assert_close(sigma * out, sigma * expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("depth", "parameters"), [("standard", 29_694_083), ("deeper", 83_445_379), ("deepest", 94_132_611)]
)
def test_has_the_published_number_of_parameters(depth: Any, parameters: int) -> None:
    with torch.device("meta"):
        net = NCSNv2(SIGMAS, image_size=256, depth=depth)
    assert sum(p.numel() for p in net.parameters()) == parameters


@pytest.mark.parametrize(
    ("image_size", "depth"),
    [(8, "standard"), (32, "standard"), (64, "standard"), (96, "deeper"), (128, "deeper"), (256, "deepest")],
)
def test_depth_follows_from_the_resolution_unless_named(image_size: int, depth: str) -> None:
    with torch.device("meta"):
        assert NCSNv2(SIGMAS, image_size=image_size).depth == depth
        assert NCSNv2(SIGMAS, image_size=image_size, depth="deeper").depth == "deeper"


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_score_is_one_function_divided_by_sigma(depth: str) -> None:
    net, x = small(depth), torch.rand(1, 1, 16, 16)
    with torch.no_grad():
        scores = net(x.expand(4, -1, -1, -1), torch.tensor([50.0, 1.0, 0.37, 0.01]))
    assert scores.shape == (4, 1, 16, 16)
    for score, sigma in zip(scores, (50.0, 1.0, 0.37, 0.01), strict=True):
        torch.testing.assert_close(sigma * score, scores[1])


def test_norm_is_its_formula() -> None:
    torch.manual_seed(0)
    norm = InstanceNormPlusPlus(6).double()
    torch.nn.init.normal_(norm.beta)
    x = 3 + torch.randn(4, 6, 5, 7, dtype=torch.float64)
    gamma, alpha, beta = (p[:, None, None] for p in (norm.gamma, norm.alpha, norm.beta))
    mu, s = x.mean((2, 3), keepdim=True), (x.var((2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    m, v = mu.mean(1, keepdim=True), (mu.var(1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(norm(x), gamma * ((x - mu) / s + alpha * (mu - m) / v) + beta)


def gradients(net: NCSNv2, objective: Any) -> dict[str, Tensor]:
    net.zero_grad()
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(2, 1, 16, 16, generator=generator)
    loss = objective(net, x, torch.tensor([1.0, 0.1]), normal=lambda x: torch.randn(x.shape, generator=generator))
    loss.mean().backward()
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    "objective",
    [
        objectives.denoising_score_matching,
        objectives.denoising_with_control_variate,
        objectives.SlicedScoreMatching(),
        objectives.SlicedScoreMatching(variance_reduced=True),
    ],
)
def test_checkpointing_does_not_change_gradients(objective: Any) -> None:
    expected, found = (gradients(small(checkpointing=c), objective) for c in (False, True))
    assert len(expected) == len(list(small().parameters()))
    torch.testing.assert_close(found, expected)


def test_checkpointing_is_not_for_exact_score_matching() -> None:
    with pytest.raises(ValueError, match="checkpointing=false"):
        gradients(small(checkpointing=True), objectives.exact_score_matching)


def test_checkpointing_keeps_little() -> None:
    def kept(checkpointing: bool) -> int:
        net, sizes = small(checkpointing=checkpointing), []

        def keep(tensor: Tensor) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            net(torch.rand(8, 1, 16, 16), torch.ones(8))
        return sum(sizes)

    assert kept(True) < 0.25 * kept(False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 27}, "image_size=27: must be even"),
        ({"image_size": 98}, "image_size=98: must be a multiple of 4 and at least 8"),
        ({"image_size": 8, "depth": "deepest"}, "image_size=8: must be a multiple of 8 and at least 16"),
        ({"image_size": 32, "depth": "deep"}, "depth=deep: must be standard, deeper, deepest or None"),
        ({"image_size": 32, "in_channels": 0}, "in_channels=0"),
        ({"image_size": 32, "num_filters": 1}, "num_filters=1"),
    ],
)
def test_refuses_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NCSNv2(SIGMAS, **options)
