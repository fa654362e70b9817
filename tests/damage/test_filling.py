"""The score of a hole: what objectives learn of it, and what samplers make of it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from checks import last, noise_of
from torch import Tensor

from ncsn import UNet, noise
from ncsn.damage import Colorize, Damage, Inpaint, SuperResolution, name_of
from ncsn.data import Batch
from ncsn.objectives import (
    SlicedScoreMatching,
    denoising_score_matching,
    denoising_with_control_variate,
    exact_score_matching,
)
from ncsn.random import Draws
from ncsn.restoration import KnownPixels, Panorama, PutBack
from ncsn.samplers import DDIM, DDPM, AnnealedLangevin, DPMSolverPP, Heun, num_evaluations
from ncsn.score import Filling, Tiled, score_given
from ncsn.training.module import ScoreModel

HOLE = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
HOLE[..., :2] = True


class Seeing:
    """A network that tells what it is given; its score is −x times a weight."""

    def __init__(self) -> None:
        self.weight = torch.full((1, 4, 4), 0.5, requires_grad=True)

    def __call__(self, x: Tensor, sigma: Tensor, damaged: Tensor) -> Tensor:
        return -self.weight * x + 0 * damaged


def test_a_network_is_given_all_but_the_hole() -> None:
    x, sigma, damaged = torch.rand(2, 1, 4, 4), torch.tensor([1.0, 0.1]), torch.rand(2, 1, 4, 4)
    network = Seeing()
    assert score_given(network, {}) is network
    whole = score_given(network, {"damaged": damaged})(x, sigma)
    torch.testing.assert_close(whole, -x / 2)
    found = score_given(network, {"damaged": damaged, "hole": HOLE})(x, sigma)
    exact = (damaged - x) / sigma.view(2, 1, 1, 1) ** 2
    torch.testing.assert_close(found, torch.where(HOLE, whole, exact))


class Differences:
    """The score of what images differ by from others, four times, N(½ + 0.4, 1.2²), whatever they are."""

    residual = 4.0

    def __call__(self, x: Tensor, sigma: Tensor, damaged: Tensor) -> Tensor:
        return (0.9 - x) / (sigma.view(-1, 1, 1, 1) ** 2 + 1.44)


@pytest.mark.parametrize("network", [Differences(), Tiled(Differences(), size=2, overlap=1)], ids=["whole", "tiles"])
def test_a_network_of_differences_scores_images_around_what_they_differ_from(network: Any) -> None:
    x, sigma, damaged = torch.rand(2, 1, 4, 4), torch.tensor([1.0, 0.1]), torch.rand(2, 1, 4, 4)

    def exact(centre: Tensor) -> Tensor:
        return (centre + 0.1 - x) / (sigma.view(2, 1, 1, 1) ** 2 + 0.09)

    torch.testing.assert_close(score_given(network, {"damaged": damaged})(x, sigma), exact(damaged))
    one_of_two = torch.cat([HOLE, torch.ones_like(HOLE)])  # the first misses a part, the second is one of multitask
    found = score_given(network, {"damaged": damaged, "hole": one_of_two})(x, sigma)
    of_images = (0.9 - x) / (sigma.view(2, 1, 1, 1) ** 2 + 1.44)
    expected = torch.stack([of_images[0], exact(damaged)[1]])
    torch.testing.assert_close(found[one_of_two], expected[one_of_two])


@pytest.mark.parametrize(
    "objective",
    [
        denoising_score_matching,
        denoising_with_control_variate,
        SlicedScoreMatching(variance_reduced=True),
        exact_score_matching,
    ],
)
def test_every_objective_learns_of_the_hole_alone_and_the_same_there(objective: Callable[..., Tensor]) -> None:
    x, sigma = torch.rand(3, 1, 4, 4, dtype=torch.float64), torch.tensor([1.0, 0.1, 0.01], dtype=torch.float64)

    def gradient(**given: Tensor) -> Tensor:
        network = Seeing()
        score = score_given(network, {"damaged": x, **given})
        objective(score, x, sigma, normal=noise_of(0)).sum().backward()
        assert network.weight.grad is not None
        return network.weight.grad

    whole, hole = gradient(), gradient(hole=HOLE)
    assert not hole[..., 2:].any()
    torch.testing.assert_close(hole[..., :2], whole[..., :2])


def test_the_loss_of_denoising_is_that_of_the_hole() -> None:
    x, sigma = torch.rand(3, 1, 4, 4, dtype=torch.float64), torch.tensor([1.0, 0.1, 0.002], dtype=torch.float64)
    score = Filling(lambda x, sigma: 0 * x, KnownPixels(~HOLE), x)
    z = noise_of(0)(x)
    expected = (z * HOLE).square().flatten(1).sum(1) / 2
    torch.testing.assert_close(denoising_score_matching(score, x, sigma, normal=noise_of(0)), expected)


@pytest.mark.parametrize(
    "sampler",
    [DPMSolverPP(steps=8), Heun(steps=8), DDIM(steps=8), DDPM(steps=8), AnnealedLangevin(100, 1e-4)],
    ids=repr,
)
def test_any_sampler_fills_the_hole_and_known_pixels_are_exact(sampler: Any) -> None:
    sigmas, known = noise.geometric(2, 0.02, 8), torch.rand(500, 1, 4, 4)
    # In the hole pixels are N(mean of what is known, 0.3²), which the network knows from what it is given.
    mean = known[..., 2:].mean((1, 2, 3), keepdim=True)

    def network(x: Tensor, sigma: Tensor, damaged: Tensor) -> Tensor:
        of_known = damaged[..., 2:].mean((1, 2, 3), keepdim=True)
        return (of_known - x) / (sigma.view(-1, 1, 1, 1) ** 2 + 0.09)

    damaged = torch.where(HOLE, torch.randn(500, 1, 4, 4), known)
    hole = HOLE.expand(500, -1, -1, -1)
    held = PutBack(sampler, KnownPixels(~hole), damaged)
    score = score_given(network, {"damaged": damaged, "hole": hole})
    start = 0.5 + 2 * torch.randn(500, 1, 4, 4)
    states = list(held(score, start, sigmas, normal=noise_of(0)))
    assert len(states) == held.num_steps(8)
    assert held.num_evaluations(8) == num_evaluations(sampler, 8)
    before, x = states[-2].x, last(held(score, start, sigmas, normal=noise_of(0)))
    assert torch.equal(x[..., 2:], known[..., 2:])
    assert torch.equal(x[..., :2], before[..., :2])
    assert (before - x).abs().max() < (0.4 if isinstance(sampler, AnnealedLangevin) else 1e-4)
    drawn = (x - mean)[..., :2]
    assert abs(float(drawn.mean())) < 0.05
    assert float(drawn.std()) == pytest.approx(0.3, abs=0.08)


def test_a_step_damages_its_images_and_two_processes_equal_one() -> None:
    torch.manual_seed(0)
    sigmas = noise.geometric(num_levels=3)
    network = UNet(
        sigmas, image_size=4, in_channels=1, num_filters=4, multipliers=[1], num_blocks=1,
        attention_resolutions=[], condition_channels=1,
    )  # fmt: skip
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.3)
    images = torch.rand(8, 1, 4, 4)

    def losses(rank: int = 0, world_size: int = 1, number: int = 5) -> Tensor:
        model = ScoreModel(
            network, sigmas, denoising_score_matching, torch.optim.Adam,
            lambda optimizer: None, condition=Inpaint(),  # type: ignore[arg-type,return-value]
        )  # fmt: skip
        model.trainer = type("T", (), {"global_rank": rank, "world_size": world_size})()
        return model.training_step(Batch(images[rank::world_size], number), 0)["losses"]

    whole = losses()
    for rank in range(2):
        torch.testing.assert_close(losses(rank, 2), whole[rank::2])
    assert not torch.allclose(losses(number=6), whole)


@pytest.mark.parametrize("damage", [Colorize(), SuperResolution(2)], ids=name_of)
def test_what_is_left_of_whole_images_is_kept_and_the_rest_is_the_networks(damage: Damage) -> None:
    x, images = torch.rand(2, 3, 3, 4, 4, dtype=torch.float64)
    sigma = torch.tensor([1.0, 0.1, 0.01], dtype=torch.float64)
    given = damage(images, None, Draws(0))
    known = damage.known(given)
    assert known is not None
    torch.testing.assert_close(known(given["damaged"]), known(images))
    trained, score = score_given(Differences(), given), score_given(Differences(), given, known)
    assert not isinstance(trained, Filling)
    exact = (images - x) / sigma.view(3, 1, 1, 1) ** 2
    torch.testing.assert_close(known(score(x, sigma)), known(exact))
    rest = score(x, sigma) - known(score(x, sigma))
    torch.testing.assert_close(rest, trained(x, sigma) - known(trained(x, sigma)))


def test_a_panorama_takes_the_steps_and_evaluations_it_says() -> None:
    images, calls = torch.rand(2, 1, 4, 4), list[Tensor]()

    def network(x: Tensor, sigma: Tensor, damaged: Tensor) -> Tensor:
        calls.append(damaged)
        return (0.5 - x) / (sigma.view(-1, 1, 1, 1) ** 2 + 0.09)

    whole = Panorama(Heun(), images, times=3)
    start = 0.5 + 2 * torch.randn(2, 1, 4, whole.width)
    states = list(whole(network, start, noise.geometric(2, 0.02, 8), normal=noise_of(0)))
    assert (whole.width, len(states), len(calls)) == (10, whole.num_steps(8), whole.num_evaluations(8))
    assert torch.equal(states[-1].x[..., :4], images)
    assert torch.equal(calls[-1][..., :2], states[-1].x[..., 6:8])
    assert torch.equal(states[8].x[..., 6:], start[..., 6:])
    assert not torch.equal(states[-1].x[..., 8:], start[..., 8:])
