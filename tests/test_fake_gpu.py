"""Training, sampling and evaluation on a GPU that is not there: wrong devices, and waiting for it, show all the same.

The autograd engine needs a real device, so backward passes are done on `meta` tensors, which have no values either.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fake_gpu import KNOWN, PACKAGE, Waits, fake_gpu
from torch import Tensor

import ncsn
from ncsn import noise, objectives, samplers
from ncsn.conditions import Label
from ncsn.damage import Multitask
from ncsn.data import Batch, Digits
from ncsn.evaluation.classifier import Classifier
from ncsn.evaluation.features import extract
from ncsn.random import Draws
from ncsn.restoration import Restoration, Tweedie
from ncsn.training.ema import EMA
from ncsn.training.finite import StopWhenNotFinite
from ncsn.training.module import ScoreModel

SIGMAS = noise.geometric(num_levels=3)
NARROW: dict[str, Any] = {"image_size": 8, "in_channels": 1, "num_filters": 4, "multipliers": [1], "num_blocks": 1}
NARROW |= {"attention_resolutions": [8]}


@pytest.fixture
def gpu() -> Iterator[torch.device]:
    with fake_gpu():
        yield torch.device("cuda")


def test_wrong_devices_and_waiting_are_seen(gpu: torch.device) -> None:
    x = torch.rand(3, device=gpu)
    assert (x + 1).is_cuda
    with pytest.raises(Exception, match="two devices, cuda:0 and cpu"):
        x + torch.ones(3)
    for wait in (float, Tensor.tolist, Tensor.cpu, lambda x: bool((x > 0).any()), lambda x: x.to("cpu")):
        with pytest.raises(Waits, match="is asked for by a test"):
            wait(x if wait is not float else x.sum())
    with pytest.raises(Exception, match="nonzero"):
        x[x > 0]
    assert float(torch.ones(3).sum()) == 3


def test_all_that_may_wait_is_there() -> None:
    for file, function in KNOWN:
        assert f"def {function}(" in (PACKAGE / file).read_text("utf-8")


SAMPLERS = [
    samplers.AnnealedLangevin(2, 1e-5, denoise=True),
    samplers.AnnealedLangevin(2, None),
    samplers.BudgetedLangevin(12),
    samplers.ConsistentAnnealedSampling(2),
    samplers.DDIM(steps=3, eta=0.5),
    samplers.DDPM(),
    samplers.DPMSolverPP(steps=3, eta=1.0, clip=True),
    samplers.Heun(steps=3, churn=1.0, float64=True),
    samplers.Heun(steps=3, spacing="uniform"),
    samplers.HamiltonianMonteCarlo(2),
    samplers.Langevin(3, 1e-5),
    samplers.MetropolisLangevin(2),
    samplers.PredictorCorrector(steps=3, spacing="levels"),
    samplers.UniPC(steps=3, spacing="logsnr"),
]


class Gaussian:
    """The score of N(½, σ² I) with its energy: that of a network is a derivative, which takes a backward pass."""

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        return (0.5 - x) / sigma[:, None, None, None] ** 2

    def energy(self, x: Tensor, sigma: Tensor) -> Tensor:
        return (x - 0.5).square().flatten(1).sum(1) / (2 * sigma**2)


def run(sampler: Any, score: Any, gpu: torch.device) -> Tensor:
    draws, sigmas = Draws(0, "sample", 0, device=gpu), SIGMAS.to(gpu)
    x = samplers.start(sampler, (2, 1, 8, 8), sigmas, draws)
    for state in sampler(score, x, sigmas, normal=draws.normal):
        x = state.x
    return x


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: type(sampler).__name__)
def test_samplers(sampler: Any, gpu: torch.device) -> None:
    x = run(sampler, Gaussian(), gpu)
    assert (x.device.type, x.shape, x.dtype) == ("cuda", (2, 1, 8, 8), torch.float32)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda: ncsn.NCSN(SIGMAS, image_size=8, in_channels=1, num_filters=2),
        lambda: ncsn.NCSNv2(SIGMAS, image_size=8, in_channels=1, num_filters=4),
        *(partial(ncsn.UNet, SIGMAS, **NARROW, form=form) for form in ("ddpm", "v", "edm")),
    ],
    ids=["ncsn", "ncsnv2", "ddpm", "v", "edm"],
)
def test_networks(make: Callable[[], torch.nn.Module], autocast: bool, gpu: torch.device) -> None:
    network = make().to(gpu).requires_grad_(False)
    x, sigma = torch.rand(2, 1, 8, 8, device=gpu), SIGMAS.to(gpu)[:2] / 1.5  # between levels
    with torch.autocast("cuda", torch.bfloat16, enabled=autocast):
        assert network(x, sigma).is_cuda


def test_guidance_and_restoration(gpu: torch.device) -> None:
    network = ncsn.UNet(SIGMAS, **NARROW, num_classes=10).to(gpu).requires_grad_(False)
    condition, labels = Label(10), torch.tensor([3, 4]).to(gpu)
    guided = ncsn.Guided(network, condition.of(labels), condition.nothing(labels), guidance=1.5)
    image, known = torch.rand(2, 1, 8, 8, device=gpu), torch.zeros(1, 1, 8, 8, device=gpu)
    for sampler in (samplers.DDIM(steps=2), samplers.AnnealedLangevin(1, 1e-5)):
        held = Restoration(sampler, lambda x: x * known, image)
        assert run(held, guided, gpu).is_cuda
    assert run(Tweedie(0.3), guided, gpu).is_cuda


CONDITIONS: list[Any] = [None, Label(10), Multitask(["inpaint", "uncrop", "jpeg", "super_resolution", "colorize"])]


def model_on(device: torch.device, condition: Any, objective: Any, distribution: Any) -> ScoreModel:
    given = {Label: {"num_classes": 10}, Multitask: {"condition_channels": 3}}.get(type(condition), {})
    network = ncsn.UNet(noise.ladder(distribution), **NARROW | {"in_channels": 3}, **given)
    adam = partial(torch.optim.Adam, lr=1e-3, fused=device.type == "cuda")
    schedule = partial(torch.optim.lr_scheduler.ConstantLR, factor=1.0)
    model = ScoreModel(network, distribution, objective, adam, schedule, condition=condition).to(device)
    model._trainer = SimpleNamespace(global_rank=1, world_size=2)  # type: ignore[assignment]
    return model.train()


def transferred(device: torch.device) -> Batch:
    """A batch as the data module and Lightning bring it to a device."""
    data = Digits(batch_size=4, flip=True, dequantize=True, augment=0.1, channels=1)
    data.trainer = SimpleNamespace(training=True, global_rank=1, world_size=2)  # type: ignore[assignment]
    batch = Batch(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), 3, torch.arange(4))
    batch = data.on_after_batch_transfer(data.transfer_batch_to_device(batch, device, 0), 0)
    return batch._replace(images=batch.images.expand(-1, 3, -1, -1), augmentation=None)


@pytest.mark.filterwarnings("ignore:Accessing the data pointer")  # PyTorch's own copy of weights does
@pytest.mark.parametrize("condition", CONDITIONS, ids=["plain", "label", "damaged"])
def test_a_step_of_training_and_what_follows_it(condition: Any, gpu: torch.device) -> None:
    model = model_on(gpu, condition, objectives.denoising_score_matching, noise.LogNormal())
    optimizer, average, finite = model.configure_optimizers()["optimizer"], EMA(), StopWhenNotFinite()
    trainer: Any = SimpleNamespace(precision="bf16-mixed", accumulate_grad_batches=1, world_size=2, global_step=1)
    trainer.log_every_n_steps = 2
    average.setup(trainer, model, "fit")
    finite.on_train_start(trainer, model)
    for trainer.global_step in (1, 2):
        with torch.autocast("cuda", torch.bfloat16):
            outputs = model.training_step(transferred(gpu), 0)
        for parameter in model.parameters():
            parameter.grad = torch.empty_like(parameter)
        finite.on_before_optimizer_step(trainer, model, optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average._average_model.update_parameters(model)
        finite.on_train_batch_end(trainer, model, outputs, None, 0)
    assert {outputs[name].device.type for name in ("loss", "losses", "level")} == {"cuda"}
    with average.averaged(model):
        assert next(model.parameters()).is_cuda


@pytest.mark.parametrize(
    "objective",
    [
        objectives.denoising_score_matching,
        objectives.denoising_with_control_variate,
        objectives.SlicedScoreMatching(),
        objectives.exact_score_matching,
    ],
    ids=["dsm", "dsm_cv", "ssm", "exact"],
)
def test_a_step_with_its_backward_pass_takes_no_value(objective: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator
    monkeypatch.setattr(torch, "Generator", lambda device="cpu": generator())
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # which meta has not
    device = torch.device("meta")
    model = model_on(device, None, objective, SIGMAS)
    images = torch.rand(2, 3, 8, 8, device=device)
    model.training_step(Batch(images, 0), 0)["loss"].backward()
    assert all(p.grad is not None and p.grad.is_meta for p in model.network.parameters())
    with pytest.raises(RuntimeError, match="meta"):
        float(images.sum())


def test_draws_are_those_of_the_device_and_of_the_process(gpu: torch.device) -> None:
    draws = Draws(0, "train", 1, device=gpu, rank=1, world_size=2)
    x = torch.empty(3, 1, 8, 8, device=gpu)
    for values, shape in ((draws.normal(x), x.shape), (draws.uniform(3, 2), (3, 2)), (draws.integers(9, 3), (3,))):
        assert (values.device.type, tuple(values.shape)) == ("cuda", tuple(shape))


def test_features_are_fetched_once_per_batch(gpu: torch.device) -> None:
    network = Classifier("digits", 8, 1, 10)
    batches = [torch.zeros(5, 1, 8, 8, dtype=torch.uint8) for _ in range(2)]
    found = extract(network, batches, gpu)
    assert (found.features.shape, found.logits.shape) == ((10, network.dimension), (10, 10))
    assert found.features.device.type == "cpu"
