"""Files that diffusers wrote: a tiny network of random weights, with its outputs, in all layouts; hostile ones."""

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from references import HERE
from safetensors.torch import load_file, save_file
from torch import Tensor

from ncsn import load_score, noise
from ncsn.checkpoint import TrainedScore, resolve, save_score
from ncsn.checkpoint.diffusers import WEIGHTS, companions, weights_among, write_diffusers
from ncsn.checkpoint.diffusers_network import with_defaults
from ncsn.commands.cli import main
from ncsn.errors import DataError
from ncsn.networks import UNet

DDPM = HERE / "ddpm"
NEW, OLD = ("to_q", "to_k", "to_v", "to_out.0"), ("query", "key", "value", "proj_attn")
LAYOUTS = ["folders", "flat", "old"]


@pytest.fixture
def layout(tmp_path: Path) -> Callable[[str], Path]:
    """layout(kind): the network as a folder of that kind, in which a test may change what it likes."""

    def layout(kind: str = "flat") -> Path:
        folder = tmp_path / kind
        if kind == "folders":
            shutil.copytree(DDPM, folder)
            return folder
        folder.mkdir()
        for file in ("unet/config.json", "scheduler/scheduler_config.json", f"unet/{WEIGHTS[0]}"):
            shutil.copy(DDPM / file, folder)
        if kind == "old":
            state = load_file(folder / WEIGHTS[0])
            (folder / WEIGHTS[0]).unlink()
            torch.save({first_name(name): value for name, value in state.items()}, folder / WEIGHTS[1])
        return folder

    return layout


def first_name(name: str) -> str:
    for new, old in zip(NEW, OLD, strict=True):
        name = name.replace(f".{new}.", f".{old}.")
    return name


def change(folder: Path, file: str, **values: Any) -> None:
    """Sets keys of a configuration; one that is to be ... goes."""
    config = json.loads((folder / file).read_text()) | values
    (folder / file).write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))


def noise_of(score: TrainedScore) -> tuple[Tensor, Tensor]:
    """−σ s(x, σ) where x/√(1 + S²) is diffusers' input, and its output."""
    with np.load(DDPM / "outputs.npz") as file:
        state, t, expected = (torch.from_numpy(file[key]) for key in ("x", "t", "out"))
    sigma = score.sigmas[len(score.sigmas) - 1 - t]
    S = 2 * sigma.view(-1, 1, 1, 1)
    with torch.no_grad():
        return -S / 2 * score(((1 + S**2).sqrt() * state + 1) / 2, sigma), expected


@pytest.mark.parametrize("kind", LAYOUTS)
def test_output_is_diffusers(kind: str, layout: Callable[[str], Path], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        score = load_score(layout(kind))
    assert "holds the raw weights, not their moving average" in caplog.text
    found, expected = noise_of(score)
    assert expected.abs().max() > 1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert (score.weights, score.step, score.image_shape) == ("raw", 0, (3, 16, 16))


def test_levels_are_the_schedulers(layout: Callable[[str], Path]) -> None:
    sigmas = load_score(layout("flat")).sigmas
    with np.load(DDPM / "outputs.npz") as file:
        alpha_bar = torch.from_numpy(file["alphas_cumprod"]).double()
    torch.testing.assert_close(sigmas.double().flip(0), ((1 - alpha_bar) / alpha_bar).sqrt() / 2, rtol=1e-4, atol=0)
    assert (float(sigmas[0]), float(sigmas[-1])) == pytest.approx((78.70, 0.0050), rel=1e-3)


def test_what_else_the_scheduler_says(layout: Callable[[str], Path]) -> None:
    folder = layout("flat")
    first = load_score(folder).config
    assert first["sampler"] == {"_target_": "ncsn.samplers.DDPM", "clip": True, "variance": "fixed_large"}
    assert first["noise"]["_target_"] == "ncsn.noise.ddpm"
    values: dict[str, Any] = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
    change(folder, "scheduler_config.json", **values, num_train_timesteps=10, clip_sample=False, variance_type=...)
    score = load_score(folder)
    torch.testing.assert_close(score.sigmas, noise.cosine(10), rtol=0, atol=0)
    assert score.config["model"]["form"] == "v"
    assert score.config["sampler"] == {"_target_": "ncsn.samplers.DDPM", "clip": False, "variance": "fixed_small"}


def test_a_ddim_scheduler_and_the_levels_of_latent_diffusion(layout: Callable[[str], Path]) -> None:
    folder = layout("flat")
    change(folder, "scheduler_config.json", variance_type=..., _class_name="DDIMScheduler", set_alpha_to_one=True)
    change(folder, "scheduler_config.json", beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    score = load_score(folder)
    assert score.config["sampler"] == {
        "_target_": "ncsn.samplers.DDIM",
        "steps": 50,
        "spacing": "uniform",
        "clip": True,
    }
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2  # as diffusers has them
    kept = (1 - betas).cumprod(0)
    torch.testing.assert_close(score.sigmas.double().flip(0), ((1 - kept) / kept).sqrt() / 2, rtol=1e-6, atol=0)


def test_a_number_of_blocks_in_a_file_does_not_keep_us_busy(layout: Callable[[str], Path], tmp_path: Path) -> None:
    score = load_score(layout("folders"))
    config = score.config | {"model": score.config["model"] | {"num_blocks": 10**9}}
    save_score(replace(score, config=config), tmp_path / "hostile.safetensors")
    with pytest.raises(DataError, match="num_blocks=1000000000: must be from 1 to 64"):
        load_score(tmp_path / "hostile.safetensors")


# With diffusers itself


COURSE: dict[str, Any] = {  # as in its course, at a quarter of the width
    "sample_size": 28,
    "in_channels": 1,
    "out_channels": 1,
    "block_out_channels": (8, 16, 16),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "norm_num_groups": 8,
}
ODD: dict[str, Any] = COURSE | {"attention_head_dim": 4, "flip_sin_to_cos": False, "norm_eps": 1e-3, "freq_shift": 1}


@pytest.mark.parametrize("options", [COURSE, ODD], ids=["defaults", "others"])
def test_networks_with_the_defaults_of_diffusers(options: dict[str, Any], tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    theirs, _ = diffusers_network(diffusers, options, tmp_path)
    assert_same_network(load_score(tmp_path), theirs, 1e-5)


def diffusers_network(diffusers: Any, options: dict[str, Any], folder: Path) -> tuple[Any, Any]:
    """A network and a scheduler of theirs, random, saved in a folder."""
    torch.manual_seed(0)
    network, scheduler = diffusers.UNet2DModel(**options).eval(), diffusers.DDPMScheduler()
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.2) if p.dim() > 1 else torch.nn.init.normal_(p, 0.5, 0.2)
    network.save_pretrained(folder / "unet")
    scheduler.save_pretrained(folder / "scheduler")
    return network, scheduler


def assert_same_network(score: TrainedScore, theirs: Any, tolerance: float) -> None:
    """−σ s(x, σ) is their output, at levels from one end to the other."""
    t = torch.tensor([0, 1, 500, 999])
    state = torch.randn(4, *score.image_shape, generator=torch.Generator().manual_seed(1))
    sigma = score.sigmas[len(score.sigmas) - 1 - t]
    S = 2 * sigma.view(-1, 1, 1, 1)
    with torch.no_grad():
        found = -S / 2 * score(((1 + S**2).sqrt() * state + 1) / 2, sigma)
        expected = theirs(state, t).sample
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * float(expected.abs().max()))


@pytest.mark.parametrize("form", ["ddpm", "v"])
def test_diffusers_loads_what_is_written(form: Any, tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    score = one_of_ours(form=form)
    save_score(score, tmp_path / "ours.ckpt")
    main(["convert", str(tmp_path / "ours.ckpt"), str(tmp_path / "theirs"), "format=diffusers"])
    pipeline = diffusers.DDPMPipeline.from_pretrained(tmp_path / "theirs")
    assert pipeline.scheduler.config.prediction_type == {"ddpm": "epsilon", "v": "v_prediction"}[form]
    assert (pipeline.scheduler.config.clip_sample, pipeline.scheduler.config.variance_type) == (True, "fixed_large")
    x, t = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 500, 999])
    with torch.no_grad():
        torch.testing.assert_close(pipeline.unet(x, t).sample, score.network.network(x, t), rtol=0, atol=1e-5)
    kept = pipeline.scheduler.alphas_cumprod.double().flip(0)
    torch.testing.assert_close(score.sigmas.double(), ((1 - kept) / kept).sqrt() / 2, rtol=5e-4, atol=0)

    again = load_score(tmp_path / "theirs")
    assert with_defaults(again.config["model"]) == with_defaults(score.config["model"]) | {"num_groups": 2}
    assert again.config["noise"] == score.config["noise"]
    assert again.config["sampler"] == score.config["sampler"]
    assert torch.equal(again.sigmas, score.sigmas)
    for name, value in score.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name])


def one_of_ours(noise_node: dict[str, Any] | None = None, **options: Any) -> TrainedScore:
    """A network with random weights, as if trained over the levels of DDPM."""
    torch.manual_seed(0)
    model = {"image_size": 8, "in_channels": 3, "num_filters": 8, "multipliers": [1, 2], "attention_resolutions": [4]}
    model |= options
    node = noise_node or {"beta_min": 1e-4, "beta_max": 0.02, "num_levels": 1000}
    sigmas = noise.ddpm(**node)
    network = UNet(sigmas, **model)
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.2)
    config = {
        "model": {"_target_": "ncsn.networks.UNet"} | model,
        "data": {"_target_": "ncsn.data.CIFAR10", "channels": 3, "image_size": 8},
        "noise": {"_target_": "ncsn.noise.ddpm"} | node,
        "sampler": {"_target_": "ncsn.samplers.DDPM", "clip": True, "variance": "fixed_large"},
    }
    return TrainedScore(network.eval(), sigmas, (3, 8, 8), config, "ema", 7)


@pytest.mark.parametrize(
    ("options", "changes", "message"),
    [
        ({"form": "edm"}, {}, "model.form=edm: the networks of DDPMScheduler estimate the noise or the velocity"),
        ({"form": "ddpm", "multipliers": [2, 2]}, {}, r"model.multipliers=\[2, 2\] does not begin with 1"),
        ({"form": "ddpm", "blocks": "ddpm++"}, {}, r"has no blocks=ddpm\+\+"),
        ({"form": "ddpm"}, {"noise": {"_target_": "ncsn.noise.geometric"}}, "they must be those of noise=ddpm"),
        ({"form": "ddpm"}, {"noise": {"_target_": "ncsn.noise.ddpm", "beta_max": 0.03}}, "they must be those of"),
        ({"form": "ddpm"}, {"noise": {"_target_": "ncsn.noise.ddpm", "beta": 0.03}}, "they must be those of"),
        (
            {"form": "ddpm"},
            {"model": {"_target_": "ncsn.networks.NCSN"}},
            "diffusers has no ncsn.networks.NCSN",
        ),
    ],
)
def test_what_diffusers_does_not_do_is_not_written(
    options: dict[str, Any], changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    score = one_of_ours(**options)
    with pytest.raises(DataError, match=message):
        write_diffusers(replace(score, config=score.config | changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_it_can_be_kept_as_one_of_ours(layout: Callable[[str], Path], tmp_path: Path) -> None:
    score = load_score(layout("folders"))
    save_score(score, tmp_path / "ours.safetensors")
    again = load_score(tmp_path / "ours.safetensors")
    torch.testing.assert_close(noise_of(again)[0], noise_of(score)[0], rtol=0, atol=0)
    assert again.config == score.config


def test_which_folder_is_which(layout: Callable[[str], Path], tmp_path: Path) -> None:
    folder = layout("folders")
    assert resolve(folder) == folder / "unet" / WEIGHTS[0]
    run = folder / "checkpoints"
    run.mkdir()
    (run / "step_0000001.ckpt").touch()
    assert resolve(folder) == run / "step_0000001.ckpt"
    (tmp_path / "neither").mkdir()
    with pytest.raises(
        DataError, match=r"neither: no checkpoint in this folder \(expected checkpoints/step_.*diffusers"
    ):
        resolve(tmp_path / "neither")


def test_files_of_a_repository() -> None:
    files = ["README.md", WEIGHTS[1], "scheduler/scheduler_config.json", f"unet/{WEIGHTS[0]}"]
    assert weights_among(files) == f"unet/{WEIGHTS[0]}"
    assert weights_among(files[:3]) == WEIGHTS[1]
    assert weights_among(["model.safetensors"]) is None
    assert {"scheduler/scheduler_config.json", "unet/config.json"} < set(companions(f"unet/{WEIGHTS[0]}"))
    assert {"scheduler_config.json", "config.json", WEIGHTS[1]} < set(companions(WEIGHTS[1]))


NETWORK, SCHEDULER = "config.json", "scheduler_config.json"


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        (NETWORK, {"act_fn": "relu"}, r'config.json: act_fn="relu": not supported, must be "silu" or "swish"'),
        (NETWORK, {"resnet_time_scale_shift": "scale_shift"}, "resnet_time_scale_shift=.*: not supported"),
        (NETWORK, {"freq_shift": 2}, "freq_shift=2: must be an integer from 0 to 1"),
        (NETWORK, {"attention_head_dim": 3}, "head_dim=3: must divide the 16 channels"),
        (NETWORK, {"attention_head_dim": 10**9}, "attention_head_dim=1000000000: must be an integer"),
        (NETWORK, {"flip_sin_to_cos": 1}, "flip_sin_to_cos=1: must be true or false"),
        (NETWORK, {"norm_eps": -1e-5}, "norm_eps=-1e-05: must be a number of at least 0"),
        (NETWORK, {"downsample_padding": "x"}, "downsample_padding=x: must be an integer"),
        (NETWORK, {"class_embed_type": ["os.system"]}, "class_embed_type="),
        (NETWORK, {"brand_new": 1}, "brand_new=1: no key that is known here"),
        (NETWORK, {"_class_name": "UNet2DConditionModel"}, "_class_name=UNet2DConditionModel: only UNet2DModel"),
        (NETWORK, {"up_block_types": ["UpBlock2D"] * 3}, "must have attention where down_block_types has"),
        (NETWORK, {"down_block_types": ["SkipDownBlock2D"] * 3}, "SkipDownBlock2D is not supported"),
        (NETWORK, {"block_out_channels": [8, 12, 16]}, "must be multiples of the first"),
        (NETWORK, {"block_out_channels": [8, 16]}, "for every block type"),
        (NETWORK, {"block_out_channels": "big"}, "must be a list of int"),
        (NETWORK, {"out_channels": 6}, "out_channels=6: must be in_channels=3"),
        (NETWORK, {"sample_size": 10**9}, "sample_size=1000000000: must be an integer"),
        (NETWORK, {"sample_size": 18}, "image_size=18: must be a multiple of 4"),
        (NETWORK, {"dropout": "no"}, "dropout=no"),
        (NETWORK, {"norm_num_groups": 3}, "num_groups=3: must divide"),
        (NETWORK, {"block_out_channels": [60000] * 3}, "linear_1.weight has the shape"),
        (NETWORK, {"layers_per_block": 3}, r"down_blocks\.0\..* is missing"),
        (NETWORK, {"layers_per_block": 1}, r"the weights are not those of the network in config\.json"),
        (NETWORK, {"sample_size": "${oc.env:HOME}"}, "is an interpolation"),
        (SCHEDULER, {"_class_name": "PNDMScheduler"}, "only DDPMScheduler and DDIMScheduler can be read"),
        (SCHEDULER, {"prediction_type": "sample"}, "must be epsilon or v_prediction"),
        (SCHEDULER, {"beta_schedule": "sigmoid"}, "beta_schedule=sigmoid: not supported"),
        (SCHEDULER, {"beta_end": float("nan")}, "beta_max=nan: must be 0 < beta_min"),
        (SCHEDULER, {"num_train_timesteps": 10**12}, "num_train_timesteps=1000000000000: must be an integer"),
        (SCHEDULER, {"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr=True: not supported"),
        (SCHEDULER, {"trained_betas": [0.1]}, r"trained_betas=\[0.1\]: not supported"),
        (SCHEDULER, {"beta_start": 1e-300, "beta_end": 1e-299}, "noise levels must be positive and finite"),
        (SCHEDULER, {"beta_end": "x"}, "must be numbers"),
        (SCHEDULER, {"thresholding": True}, "thresholding=True: not supported"),
        (SCHEDULER, {"clip_sample_range": 2.0}, "with a clip_sample_range of 1"),
        (SCHEDULER, {"variance_type": "learned"}, "variance_type=learned: not supported"),
        (SCHEDULER, {"brand_new": 1}, "brand_new=1: no key that is known here"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    file: str, values: dict[str, Any], message: str, layout: Callable[[str], Path]
) -> None:
    folder = layout("flat")
    change(folder, file, **values)
    with pytest.raises(DataError, match=message) as raised:
        load_score(folder)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "cannot be read as JSON"),
        ('{"a": ' * 900 + "1" + "}" * 900, "levels|cannot be read as JSON"),
        ("[1, 2]", "it is a list"),
        ('"' + "x" * 2**20 + '"', "larger than"),
        ("\x1b[31m", "cannot be read as JSON"),
        ("", "cannot be read as JSON"),
        (None, r"config\.json: missing"),
    ],
)
def test_a_configuration_that_is_none(text: str | None, message: str, layout: Callable[[str], Path]) -> None:
    folder = layout("flat")
    for file in (NETWORK, SCHEDULER):
        before = (folder / file).read_text()
        (folder / file).unlink() if text is None else (folder / file).write_text(text)
        with pytest.raises(DataError, match=message) as raised:
            load_score(folder)
        assert "\n" not in str(raised.value)
        (folder / file).write_text(before)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda state: state | {"foreign.weight": torch.zeros(1)}, r"foreign\.weight is no part of it"),
        (lambda state: state | {"conv_in.bias": torch.zeros(8, dtype=torch.int64)}, "no plain tensor"),
        (lambda state: {k: v for k, v in state.items() if k != "conv_out.bias"}, r"conv_out\.bias is missing"),
        (lambda state: state | {"conv_in.weight": torch.zeros(8, 1, 3, 3)}, r"conv_in\.weight has the shape"),
    ],
)
def test_foreign_weights_are_one_error(write: Any, message: str, layout: Callable[[str], Path]) -> None:
    folder = layout("flat")
    save_file(write(load_file(folder / WEIGHTS[0])), folder / WEIGHTS[0])
    with pytest.raises(DataError, match=message):
        load_score(folder)


@pytest.mark.parametrize("value", [[1, 2], {"conv_in.weight": 1}, {"conv_in.weight": print}])
def test_a_pickle_holds_tensors_alone(value: Any, layout: Callable[[str], Path]) -> None:
    folder = layout("old")
    torch.save(value, folder / WEIGHTS[1])
    with pytest.raises(DataError, match=r"\.bin: (no weights of diffusers|refused, and nothing in it was run)"):
        load_score(folder)
