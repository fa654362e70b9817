"""The authors' checkpoints: every format, what is guessed of them, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import composed
from omegaconf import OmegaConf
from references import NCSN, NCSNV2, outputs, reference
from torch import Tensor

from ncsn import load_score
from ncsn.checkpoint.authors import PUBLISHED, Published, Shapes
from ncsn.config import check
from ncsn.data import CIFAR10, MNIST
from ncsn.errors import DataError
from ncsn.networks import NCSNv2
from ncsn.sampling.tasks.images import training_data

State = dict[str, Tensor]


def content(name: str) -> list[Any]:
    return torch.load(reference(name), weights_only=True)


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def save(value: Any, **options: Any) -> Path:
        torch.save(value, tmp_path / "checkpoint.pth", **options)
        return tmp_path / "checkpoint.pth"

    return save


def bare(state: State) -> State:
    return {name.removeprefix("module."): value for name, value in state.items()}


def assert_same(path: Path, name: str, weights: Any = "ema", **options: Any) -> None:
    """A file gives what the reference gives."""
    x, level, _ = outputs(name)
    expected, score = load_score(reference(name), weights), load_score(path, **options)
    sigma = expected.sigmas[level]
    with torch.no_grad():
        torch.testing.assert_close(score(x, sigma), expected(x, sigma), rtol=0, atol=0)
    torch.testing.assert_close(score.sigmas, expected.sigmas, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", NCSN)
def test_a_list_of_2019_gives_the_authors_outputs(name: str) -> None:
    score, (x, level, expected) = load_score(reference(name)), outputs(name)
    assert score.weights == "raw"
    torch.testing.assert_close(score(x, score.sigmas[level]), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["ncsn_mnist", "ncsnv2_cifar10"])
def test_a_state_on_its_own_with_and_without_the_prefix(name: str, save: Callable[..., Path]) -> None:
    state = content(name)[0]
    assert_same(save(state), name, "raw")
    assert_same(save(bare(state)), name, "raw")


def test_files_as_torch_wrote_them_at_the_time(save: Callable[..., Path]) -> None:
    assert_same(save(content("ncsnv2_cifar10"), _use_new_zipfile_serialization=False), "ncsnv2_cifar10")


def test_a_list_of_2020_has_both_sets_of_weights() -> None:
    ema, raw = (load_score(reference("ncsnv2_cifar10"), weights) for weights in ("ema", "raw"))
    assert (ema.weights, ema.step, raw.weights, raw.step) == ("ema", 12345, "raw", 12345)
    assert not torch.equal(ema.network.stem.weight, raw.network.stem.weight)
    assert torch.equal(raw.network.stem.weight, content("ncsnv2_cifar10")[0]["module.begin_conv.weight"])


def test_a_list_of_2020_without_average_is_raw(save: Callable[..., Path]) -> None:
    path = save(content("ncsnv2_cifar10")[:4])
    assert (load_score(path).weights, load_score(path).step) == ("raw", 12345)
    assert_same(path, "ncsnv2_cifar10", "raw")


def test_an_average_on_its_own_takes_the_published_ladder(save: Callable[..., Path]) -> None:
    path = save(content("ncsnv2_cifar10")[4])
    assert_same(path, "ncsnv2_cifar10")
    score = load_score(path, sigma_max=20.0, sigma_min=0.1, num_levels=50)
    assert (len(score.sigmas), score.config["noise"]["num_levels"]) == (50, 50)
    torch.testing.assert_close(score.sigmas[[0, -1]], torch.tensor([20.0, 0.1]))


def test_adam_knows_the_steps_where_the_list_does_not(save: Callable[..., Path]) -> None:
    model, optimizer = content("ncsn_mnist")
    optimizer["state"] = {i: {"step": 200_000, "exp_avg": torch.zeros(1)} for i in range(2)}
    assert load_score(save([model, optimizer])).step == 200_000
    one = torch.ones(1)
    steps = [
        torch.tensor(7),
        one,
    ]
    optimizer["state"] = {i: {"step": step} for i, step in enumerate(steps)}
    assert load_score(save([model, optimizer])).step == 7


@pytest.mark.parametrize(
    ("name", "experiment", "image_size"),
    [
        ("ncsn_mnist", "mnist", 28),
        ("ncsn_cifar10", "cifar10", 32),
        ("ncsnv2_cifar10", "ncsnv2_cifar10", 32),
        ("ncsnv2deeper_lsun", "ncsnv2_lsun_bedroom", 128),
        ("ncsnv2deepest_ffhq", "ncsnv2_ffhq256", 256),
    ],
)
def test_the_experiment_is_guessed_and_said(
    name: str, experiment: str, image_size: int, caplog: pytest.LogCaptureFixture
) -> None:
    score = load_score(reference(name))
    assert score.config["name"] == experiment
    assert score.image_shape[1:] == (image_size, image_size)
    (line,) = caplog.messages
    assert f"experiment={experiment}" in line
    assert f"{image_size}×{image_size} pixels" in line
    published, sampler = PUBLISHED[experiment], score.config["sampler"]
    assert sampler["steps_per_level"] == published.steps_per_level
    assert sampler["step_size"] == 2 * published.step_lr  # the paper's form
    assert sampler["denoise"] == (published.architecture == "NCSNv2")


def test_what_is_as_likely_is_said(caplog: pytest.LogCaptureFixture) -> None:
    load_score(reference("ncsn_cifar10"))
    assert "celeba is as likely" in caplog.text


def test_levels_tell_networks_of_one_architecture_apart(save: Callable[..., Path]) -> None:
    for published in PUBLISHED.values():
        if published.depth == "standard":
            state = content("ncsnv2_cifar10")[0]
            state["module.sigmas"] = torch.linspace(published.sigma_max, 0.01, published.num_levels)
            assert load_score(save(state)).config["name"] == published.name


def test_another_experiment_or_other_settings_on_request() -> None:
    score = load_score(reference("ncsn_cifar10"), experiment="celeba", sigma_max=2.0, sigma_min=0.02, image_size=64)
    assert score.config["data"]["_target_"] == "ncsn.data.CelebA"
    assert score.image_shape == (3, 64, 64)
    assert score.config["model"]["image_size"] == score.config["data"]["image_size"] == 64
    torch.testing.assert_close(score.sigmas[[0, -1]], torch.tensor([2.0, 0.02]))


def test_a_network_that_was_never_published_wants_an_experiment(save: Callable[..., Path]) -> None:
    net = NCSNv2(torch.ones(1), image_size=8, in_channels=1, num_filters=4)
    state = dict(content("ncsnv2_cifar10")[4])
    state["begin_conv.weight"], state["end_conv.weight"], state["end_conv.bias"] = (
        state["begin_conv.weight"][:, :1],
        state["end_conv.weight"][:1],
        state["end_conv.bias"][:1],
    )
    path = save(state)
    with pytest.raises(DataError, match="1 channel"):
        load_score(path)
    score = load_score(path, experiment="ncsnv2_cifar10", image_size=28)
    assert score.image_shape == (1, 28, 28)
    assert net.head.weight.shape[0] == score.network.head.weight.shape[0] == 1


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("ncsn_mnist", {"experiment": "mnits"}, "experiment=mnits: never published; did you mean mnist"),
        ("ncsn_mnist", {"experiment": "ncsnv2_cifar10"}, "has another network than NCSN"),
        ("ncsn_mnist", {"num_levels": 5}, "num_levels=5 cannot be given"),
        ("ncsn_mnist", {"sigma_max": 0.001}, "sigma_max=0.001"),
        ("ncsn_mnist", {"image_size": 27}, "image_size=27: must be even"),
        ("ncsnv2_cifar10", {"sigma_max": 20.0}, "sigma_max=20.0 cannot be given"),
    ],
)
def test_refuses_settings_by_name(name: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match=message) as raised:
        load_score(reference(name), **given)
    assert type(raised.value).__name__ in ("DataError", "ConfigError")


def without(state: State, name: str) -> State:
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: without(s, "module.begin_conv.weight"), "lacks begin_conv.weight"),
        (lambda s: without(s, "module.refine2.msf.convs.0.weight"), r"lacks refine\.1\.fuse\.convs\.0\.weight"),
        (lambda s: without(s, "module.normalizer.alpha"), "InstanceNorm"),
        (lambda s: s | {"module.res1.0.conv1.weight": torch.zeros(8, 8, 5, 5)}, r"shape \(8, 8, 5, 5\), not"),
        (lambda s: s | {"module.begin_conv.weight": torch.zeros(8)}, "must have 4 axes"),
        (lambda s: s | {"module.begin_conv.weight": torch.zeros(8, 0, 3, 3)}, "channel"),
        (lambda s: s | {"module.more.weight": torch.zeros(8)}, r"more\.weight is no part of the network"),
        (lambda s: s | {"module.sigmas": torch.zeros(232)}, "noise levels are not positive"),
        (lambda s: s | {"module.sigmas": torch.zeros(0)}, "no noise levels"),
        (lambda s: s | {"module.sigmas": torch.zeros(1).expand(232)}, "tensors"),
        (lambda s: s | {"module.normalizer.embed.weight": torch.zeros(100_001, 0)}, "over 100000"),
        (lambda s: s | {"module.begin_conv.weight": 3}, "tensors"),
    ],
)
def test_a_damaged_state_is_one_error(
    change: Callable[[State], State], message: str, save: Callable[..., Path]
) -> None:
    model, *rest = content("ncsnv2_cifar10")
    path = save([change(model), *rest[:3]])
    with pytest.raises(DataError, match=rf"checkpoint\.pth.*{message}"):
        load_score(path)


def test_a_conditional_network_without_its_head_norm_or_with_five_stages(save: Callable[..., Path]) -> None:
    state = content("ncsn_mnist")[0]
    with pytest.raises(DataError, match=r"lacks normalizer\.embed\.weight"):
        load_score(save(without(state, "module.normalizer.embed.weight")))
    with pytest.raises(DataError, match="more than four stages"):
        load_score(save(state | {"module.res5.0.conv1.weight": torch.zeros(1)}))


def test_published_settings_are_those_of_the_papers() -> None:
    """Every number that a checkpoint does not hold; σ₁, L, T and ε of the released code."""
    rows = {
        name: (p.data["image_size"], p.sigma_max, p.num_levels, p.steps_per_level, p.step_lr)
        for name, p in PUBLISHED.items()
    }
    assert rows == {
        "mnist": (28, 1, 10, 100, 2e-5),
        "cifar10": (32, 1, 10, 100, 2e-5),
        "celeba": (32, 1, 10, 100, 2e-5),
        "ncsnv2_cifar10": (32, 50, 232, 5, 6.2e-6),
        "ncsnv2_celeba64": (64, 90, 500, 5, 3.3e-6),
        "ncsnv2_lsun_church": (96, 140, 788, 4, 4.9e-6),
        "ncsnv2_lsun_bedroom": (128, 190, 1086, 3, 1.8e-6),
        "ncsnv2_lsun_tower": (128, 190, 1086, 3, 1.8e-6),
        "ncsnv2_ffhq256": (256, 348, 2311, 3, 9e-7),
    }


@pytest.mark.parametrize("published", PUBLISHED.values(), ids=PUBLISHED)
def test_published_settings_are_those_of_the_experiments(published: Published) -> None:
    config = composed(f"experiment={published.name}")
    check(OmegaConf.create({"data": published.data}))
    assert {key: config.data[key] for key in published.data} == published.data
    assert config.model._target_ == f"ncsn.networks.{published.architecture}"
    assert config.model.num_filters == published.num_filters
    assert config.model.get("depth") in (None, published.depth)
    ladder = (published.sigma_max, published.sigma_min, published.num_levels)
    assert tuple(config.noise[key] for key in ("sigma_max", "sigma_min", "num_levels")) == ladder
    sampler = (published.steps_per_level, pytest.approx(2 * published.step_lr), published.denoise)
    assert tuple(config.sampler[key] for key in ("steps_per_level", "step_size", "denoise")) == sampler


@pytest.mark.parametrize(("name", "data"), [("ncsn_mnist", MNIST), ("ncsnv2_cifar10", CIFAR10)])
def test_the_data_set_is_that_of_the_experiment(name: str, data: type) -> None:
    score = load_score(reference(name))
    found = training_data(score)
    assert type(found) is data
    assert (found.root, found.channels, found.image_size) == ("data", *score.image_shape[:2])


@pytest.mark.parametrize("name", NCSNV2)
def test_shapes_tell_the_network(name: str) -> None:
    depths = {"ncsnv2_cifar10": "standard", "ncsnv2deeper_lsun": "deeper", "ncsnv2deepest_ffhq": "deepest"}
    state = content(name)[0]
    assert Shapes.of(state) == Shapes("NCSNv2", depths[name], 3, 8, len(state["module.sigmas"]))
