"""Labels: dropped reproducibly, and scores that are given one, or guided by it."""

from typing import Any

import pytest
import torch
from checks import assert_mean, last, noise_of
from densities import Gaussian, Mixture
from torch import Tensor

from ncsn import Given, Guided, UNet, noise
from ncsn.conditions import Label
from ncsn.data import Batch
from ncsn.objectives import denoising_score_matching
from ncsn.random import Draws
from ncsn.samplers import DDPM
from ncsn.training.module import ScoreModel

EYE = torch.eye(2, dtype=torch.float64)
CLASSES = [
    Gaussian(torch.tensor([-1.0, 0.5]), 0.04 * EYE),
    Gaussian(torch.tensor([1.0, 0.0]), torch.tensor([[0.09, 0.05], [0.05, 0.09]])),
]
EITHER = Mixture([0.3, 0.7], CLASSES)


class OfMixture:
    """The network that knows a mixture of labelled classes; 2 is no class. Counts the rows of its calls."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        self.rows.append(len(x))
        scores = torch.stack([density.score(x, sigma) for density in [*CLASSES, EITHER]])
        return scores[label, torch.arange(len(x))]


def guided(labels: Tensor, guidance: float) -> tuple[Guided, OfMixture]:
    network, label = OfMixture(), Label(2)
    return Guided(network, label.of(labels), label.nothing(labels), guidance), network


@pytest.mark.parametrize("guidance", [0.0, 0.5, 1.0, 3.0])
def test_guidance_is_its_formula_in_one_call(guidance: float) -> None:
    x, labels = torch.randn(6, 2, dtype=torch.float64), torch.tensor([0, 1, 0, 1, 1, 0])
    sigma = torch.linspace(0.1, 2, 6, dtype=torch.float64)
    score, network = guided(labels, guidance)
    found = score(x, sigma)
    assert network.rows == [6 if guidance in (0, 1) else 12]
    of_class, of_none = (Given(OfMixture(), {"label": y})(x, sigma) for y in (labels, torch.full_like(labels, 2)))
    torch.testing.assert_close(found, of_none + guidance * (of_class - of_none))
    if guidance == 1:
        assert torch.equal(found, of_class)


def test_samples_are_of_the_class_or_of_all_of_them() -> None:
    n = 4000
    labels, sigmas = torch.arange(n) % 2, noise.geometric(10, 0.01, 60).double()
    start = 10 * noise_of(0)(torch.empty(n, 2, dtype=torch.float64))
    score, _ = guided(labels, 1)
    x = last(DDPM(steps=None, clip=False)(score, start, sigmas, normal=noise_of(1)))
    for number, density in enumerate(CLASSES):
        assert_mean(x[labels == number], density.mean)
        torch.testing.assert_close(torch.cov(x[labels == number].T), density.covariance, rtol=0.15, atol=0.01)
    unguided, _ = guided(labels, 0)
    x = last(DDPM(steps=None, clip=False)(unguided, start, sigmas, normal=noise_of(1)))
    assert_mean((x[:, 0] > 0).double(), 0.7)


def test_labels_are_dropped_as_often_as_said_and_the_same_on_any_number_of_devices() -> None:
    label, n = Label(10, dropout=0.25), 20_000
    images, labels = torch.zeros(n, 1, 1, 1), torch.arange(n) % 10

    def given(rank: int = 0, world_size: int = 1) -> Tensor:
        mine = slice(rank, None, world_size)
        return label(images[mine], labels[mine], Draws(0, "train", 3, rank=rank, world_size=world_size))["label"]

    whole = given()
    dropped = whole == 10
    assert abs(float(dropped.double().mean()) - 0.25) < 4 * (0.25 * 0.75 / n) ** 0.5
    assert torch.equal(whole[~dropped], labels[~dropped])
    assert torch.equal(given(), whole)
    for rank in range(2):
        assert torch.equal(given(rank, 2), whole[rank::2])
    kept = Label(10, dropout=0)(images, labels, Draws(0))["label"]
    assert torch.equal(kept, labels)


def test_a_step_trains_on_the_labels_and_on_what_was_done_to_the_images_and_two_processes_equal_one() -> None:
    torch.manual_seed(0)
    sigmas, options = (
        noise.geometric(num_levels=3),
        {"multipliers": [1], "num_blocks": 1, "attention_resolutions": []},
    )
    network = UNet(
        sigmas, image_size=4, in_channels=1, num_filters=4, num_classes=3, num_augmentation_labels=9, **options
    )  # type: ignore[arg-type]
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.3)
    images, labels, done = torch.rand(8, 1, 4, 4), torch.arange(8) % 3, torch.rand(8, 9)

    def losses(labels: Tensor | None, done: Tensor | None = None, rank: int = 0, world_size: int = 1) -> Tensor:
        model = ScoreModel(
            network,
            sigmas,
            denoising_score_matching,
            torch.optim.Adam,
            lambda optimizer: None,  # type: ignore[arg-type,return-value]
            condition=None if labels is None else Label(3),
        )
        model.trainer = type("T", (), {"global_rank": rank, "world_size": world_size})()
        mine = slice(rank, None, world_size)
        given = (None if one is None else one[mine] for one in (labels, done))
        return model.training_step(Batch(images[mine], 5, *given), 0)["losses"]

    whole = losses(labels, done)
    for rank in range(2):
        torch.testing.assert_close(losses(labels, done, rank, 2), whole[rank::2])
    for other in (losses(labels.roll(1), done), losses(labels, done.roll(1, 0)), losses(labels), losses(None, done)):
        assert not torch.allclose(other, whole)
    assert torch.equal(losses(labels, torch.zeros(8, 9)), losses(labels))
    with pytest.raises(ValueError, match="label: the images have none"):
        Label(3)(images, None, Draws(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "num_classes=0: must be at least 1"),
        ({"num_classes": 2, "dropout": 1}, "dropout=1: must be at least 0 and below 1"),
        ({"num_classes": 2, "names": ["cat"]}, "names: must be 2, one for each class, not 1"),
        ({"num_classes": 2, "names": {"cat": 1, "dog": 2}}, "names: must be a list of text"),
    ],
)
def test_refuses_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Label(**options)


def test_a_class_is_found_by_its_name_before_its_number() -> None:
    pets = Label(3, names=["cat", "ox", "dog"])
    assert [pets.find(label) for label in ("dog", 0, 2)] == [2, 0, 2]
    for label in (3, -1, "cow"):
        with pytest.raises(ValueError, match="must be a number from 0 to 2, or one of cat, ox, dog"):
            pets.find(label)


def test_where_names_are_numbers_a_number_is_a_name() -> None:
    some = Label(3, names=["3", "5", "8"])
    assert [some.find(label) for label in ("5", 8, 3)] == [1, 2, 0]
    with pytest.raises(ValueError, match="must be one of 3, 5, 8"):
        some.find(1)
