"""The moving average of the weights, recomputed by hand."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from ncsn import NCSN, noise
from ncsn.data import Digits
from ncsn.objectives import denoising_score_matching
from ncsn.training.ema import EMA, PowerFunctionEMA, averaged_weights, ema_update
from ncsn.training.module import ScoreModel

Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


class Witness(Callback):
    """Writes down the weights after every step, and those that validation sees."""

    def __init__(self) -> None:
        self.weights: list[Weights] = []
        self.validated: list[Weights] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.weights.append(copy(pl_module))

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.weights.append(copy(pl_module))

    def on_validation_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.validated.append(copy(pl_module))


def copy(module: LightningModule) -> Weights:
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def fit(root: Path, *callbacks: Callback, steps: int = 4, accumulate: int = 1) -> tuple[ScoreModel, Trainer]:
    torch.manual_seed(0)
    sigmas = noise.geometric(num_levels=2)
    network = NCSN(sigmas, image_size=8, in_channels=1, num_filters=4)
    optimizer = partial(torch.optim.Adam, lr=1e-2)
    constant = partial(torch.optim.lr_scheduler.ConstantLR, factor=1.0)
    model = ScoreModel(network, sigmas, denoising_score_matching, optimizer, constant)
    trainer = Trainer(
        max_steps=steps, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=list(callbacks), val_check_interval=2,
        check_val_every_n_epoch=None, limit_val_batches=1, num_sanity_val_steps=0, max_epochs=-1,
        accumulate_grad_batches=accumulate,
    )  # fmt: skip
    trainer.fit(model, Digits(root=str(root), batch_size=4))
    return model, trainer


def by_hand(weights: list[Weights], rate: Callable[[int], float]) -> Weights:
    average = {
        name: value.clone() for name, value in weights[1].items()
    }  # the first update is the weights themselves
    for n, now in enumerate(weights[2:], start=1):
        for name in average:
            average[name].lerp_(now[name], 1 - rate(n))
    return average


@pytest.mark.parametrize("warmup", [False, True])
def test_the_average_is_the_recursion_over_the_steps(warmup: bool, data_root: Path) -> None:
    witness, ema = Witness(), EMA(rate=0.4, warmup=warmup)
    model, trainer = fit(data_root, witness, ema)
    expected = by_hand(witness.weights, lambda n: min(0.4, (1 + n) / (10 + n)) if warmup else 0.4)
    with averaged_weights(trainer, model):
        torch.testing.assert_close(copy(model), expected, rtol=0, atol=0)


def test_validation_sees_the_average_and_training_never_does(data_root: Path) -> None:
    witness, ema = Witness(), EMA(rate=0.5, warmup=False)
    model, _ = fit(data_root, witness, ema)
    assert len(witness.validated) == 2
    for seen, until in zip(witness.validated, (3, 5), strict=True):
        torch.testing.assert_close(seen, by_hand(witness.weights[:until], lambda n: 0.5), rtol=0, atol=0)
    torch.testing.assert_close(copy(model), witness.weights[-1], rtol=0, atol=0)


def test_averaging_does_not_change_what_is_trained(data_root: Path) -> None:
    with_ema, _ = fit(data_root, EMA())
    without, trainer = fit(data_root)
    torch.testing.assert_close(copy(with_ema), copy(without), rtol=0, atol=0)
    before = copy(without)
    with averaged_weights(trainer, without):  # nothing averaged: the weights themselves
        torch.testing.assert_close(copy(without), before, rtol=0, atol=0)


def test_accumulated_batches_count_as_one_step(data_root: Path) -> None:
    witness, ema = Witness(), EMA(rate=0.5, warmup=False)
    model, trainer = fit(data_root, witness, ema, steps=3, accumulate=2)
    expected = by_hand(witness.weights[::2], lambda n: 0.5)
    with averaged_weights(trainer, model):
        torch.testing.assert_close(copy(model), expected, rtol=0, atol=0)


def test_warmup_forgets_the_start_that_a_fixed_rate_keeps() -> None:
    warm, fixed = torch.zeros(1), torch.zeros(1)
    for n in range(1, 101):
        ema_update([warm], [torch.ones(1)], EMA(rate=0.999, warmup=True).momentum(n))
        ema_update([fixed], [torch.ones(1)], EMA(rate=0.999, warmup=False).momentum(n))
    assert warm > 0.99
    assert fixed < 0.1


@pytest.mark.parametrize("gamma", [2.0, 6.94])
def test_a_power_function_weighs_the_steps_of_a_run_by_their_place_in_it(gamma: float) -> None:
    weights = torch.eye(400)
    average, ema = weights[0].clone(), PowerFunctionEMA(gamma)
    for n in range(1, len(weights)):
        ema_update([average], [weights[n]], ema.momentum(n))
    t = torch.arange(1, 401) / 400
    expected = t**gamma / (t**gamma).sum()
    torch.testing.assert_close(average, expected, rtol=0.05, atol=1e-5)
    mean = (average * t).sum()
    if gamma == 6.94:  # published as a width of 0.1 (Karras et al. 2024, Sec. 3.1)
        assert (average * (t - mean) ** 2).sum().sqrt() == pytest.approx(0.1, abs=2e-3)


def test_a_ramp_bounds_the_half_life_by_a_share_of_the_updates() -> None:
    """As in Karras et al. 2022: 0.5^(batch / min(half-life, 5 % of the images so far)), batches of 512."""
    ema = EMA(rate=0.5 ** (512 / 500_000), warmup=False, ramp=0.05)
    for n in (1, 10, 1000, 19_000, 20_000, 10**6):
        half_life = min(500_000, 0.05 * n * 512)
        assert ema.momentum(n) == pytest.approx(0.5 ** (512 / half_life), rel=1e-12)
    with pytest.raises(ValueError, match="ramp=0: must be positive"):
        EMA(ramp=0)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_a_rate_out_of_range_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=f"rate={rate}"):
        EMA(rate=rate)
