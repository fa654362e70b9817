"""A training step is a function of the seed and the number of its batch."""

from types import SimpleNamespace
from typing import Any

import torch

from ncsn import UNet, noise
from ncsn.data import Batch
from ncsn.objectives import denoising_score_matching
from ncsn.training.module import ScoreModel


def test_a_step_that_is_repeated_drops_the_same_features() -> None:
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
