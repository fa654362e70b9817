"""A training step is a function of the seed and the number of its batch."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ncsn import NCSN, UNet, noise
from ncsn.data import Batch
from ncsn.objectives import denoising_score_matching
from ncsn.random import Draws
from ncsn.training.module import ScoreModel


def module_of(levels: Any, objective: Any = denoising_score_matching) -> ScoreModel:
    sigmas = noise.ladder(levels)
    network = NCSN(sigmas, image_size=4, in_channels=1, num_filters=4)
    model = ScoreModel(network, levels, objective, torch.optim.Adam, lambda optimizer: None)
    model.trainer = SimpleNamespace(global_rank=0, world_size=1)
    return model


@pytest.mark.parametrize("levels", [noise.LogNormal(), noise.VP(num_levels=7), noise.geometric(num_levels=3)])
def test_sigma_is_drawn_from_the_ladder_or_from_the_distribution(levels: Any) -> None:
    """It is a function of the seed, the batch and the row; losses are grouped by the nearest level."""
    drawn: list[torch.Tensor] = []

    def objective(score: Any, x: torch.Tensor, sigma: torch.Tensor, *, normal: Any) -> torch.Tensor:
        drawn.append(sigma)
        return sigma

    model = module_of(levels, objective)
    whole = model.training_step(Batch(torch.rand(6, 1, 4, 4), 3), 0)["level"]
    draws, ladder = Draws(0, "train", 3), noise.ladder(levels)
    expected = ladder[draws.integers(3, 6)] if isinstance(levels, torch.Tensor) else levels.draw(draws.uniform(6))
    assert drawn[0].equal(expected)
    assert whole.equal((expected[:, None].log() - ladder.log()).abs().argmin(1))
    for rank in (0, 1):
        model.trainer = SimpleNamespace(global_rank=rank, world_size=2)
        assert model.training_step(Batch(torch.rand(3, 1, 4, 4), 3), 0)["level"].equal(whole[rank::2])
        assert drawn[-1].equal(drawn[0][rank::2])


def test_a_step_that_is_repeated_or_shared_drops_the_same_features() -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"multipliers": [1], "num_blocks": 1, "attention_resolutions": []}
    sigmas = noise.geometric(num_levels=3)
    network = UNet(sigmas, image_size=4, in_channels=1, num_filters=4, dropout=0.5, **options)
    for p in network.parameters():
        torch.nn.init.normal_(p)
    model = ScoreModel(network, sigmas, denoising_score_matching, torch.optim.Adam, lambda optimizer: None)
    model.trainer = SimpleNamespace(global_rank=0, world_size=1)
    images = torch.rand(4, 1, 4, 4)

    def loss(number: int) -> Any:
        return model.training_step(Batch(images, number), 0)["losses"].tolist()

    first = loss(1)
    torch.rand(7)
    assert loss(1) == first
    with torch.no_grad():
        model.eval()
        assert loss(1) != first  # something was dropped
    model.train()
    for rank in (0, 1):  # as a row of the batch loses them, whichever process has it
        model.trainer = SimpleNamespace(global_rank=rank, world_size=2)
        share = model.training_step(Batch(images[rank::2], 1), 0)["losses"].tolist()
        assert share == pytest.approx(first[rank::2], rel=1e-5)
