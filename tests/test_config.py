"""Every configuration that ships is sound, and what is checked before a run is checked by name."""

from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import torch
from composing import asked
from lightning import Trainer
from omegaconf import OmegaConf
from pydantic import Field

from ncsn import noise
from ncsn.config import build, check, slug
from ncsn.errors import ConfigError
from ncsn.objectives import LikelihoodWeight, denoising_score_matching
from ncsn.training.build import build_model
from ncsn.training.classes import resolve_conditions

CONF = Path(__file__).parents[1] / "conf"
GROUPS = {
    "callbacks",
    "condition",
    "data",
    "logger",
    "model",
    "noise",
    "objective",
    "optimizer",
    "sampler",
    "scheduler",
    "speed",
    "trainer",
}
NOT_ALONE = {"noise=ncsnv2", "sampler=ald_snr", "data=pairs"}
CHOICES = {
    group: [
        option
        for path in sorted((CONF / group).glob("*.yaml"))
        if path.stem not in ("trained", "recommended", "sampling", "image_folder")
        if (option := f"{group}={path.stem}") not in NOT_ALONE
    ]
    for group in sorted(GROUPS)
}
RELATED = ("data", "model", "noise")  # what one of them chooses changes the others; the rest are looked at together
OPTIONS = [option for group in RELATED for option in CHOICES.pop(group)]
OPTIONS += [" ".join(filter(None, options)) for options in zip_longest(*CHOICES.values())]
OPTIONS += [f"experiment={path.stem}" for path in sorted(CONF.glob("experiment/*.yaml"))]
OPTIONS += ["data=pairs data.root=pairs data.image_size=64 condition=pairs"]
OPTIONS += ["data=image_folder data.root=pictures data.image_size=64", "data=cifar10 noise=ncsnv2"]
OPTIONS += ["experiment=quick sampler=ald"]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_passes_the_check(option: str) -> None:
    found_out = " model.num_filters=16 model.multipliers=[1,2]" if "experiment=quick" in option else ""
    check(asked(option + found_out))


@pytest.mark.parametrize(
    "option", ["sampler=ald", "sampler=trained", "sampler=recommended", "trainer.devices=2 trainer.strategy=ddp"]
)
def test_the_configuration_of_sampling_passes_the_check(option: str) -> None:
    check(asked(f"ckpt=some.ckpt {option}", "sample"))


@pytest.mark.parametrize(
    ("arguments", "sampler"),
    [
        ("", "AnnealedLangevin"),
        ("model=unet noise=from_data", "DPMSolverPP"),
        ("model=unet sampler=ald", "AnnealedLangevin"),
        ("model=unet sampler=heun", "Heun"),
    ],
)
def test_a_network_comes_with_a_sampler_that_suits_it(arguments: str, sampler: str) -> None:
    assert asked(arguments).sampler._target_ == f"ncsn.samplers.{sampler}"


@pytest.mark.parametrize("data", ["mnist", "cifar10", "celeba"])
def test_experiments_are_the_papers_runs(data: str) -> None:
    config = asked(f"experiment={data}")
    assert config.data.name == data
    assert config.data.image_size == (28 if data == "mnist" else 32)
    assert (config.data.batch_size, config.data.flip, config.data.dequantize) == (128, data != "mnist", True)
    assert config.model.num_filters == (64 if data == "mnist" else 128)
    assert (config.noise.sigma_max, config.noise.sigma_min, config.noise.num_levels) == (1.0, 0.01, 10)
    assert (config.optimizer.lr, list(config.optimizer.betas)) == (1e-3, [0.9, 0.999])
    assert (config.trainer.max_steps, config.callbacks.checkpoint.every_n_train_steps) == (200_000, 5_000)
    assert (config.sampler.steps_per_level, config.sampler.step_size) == (100, 4e-5)
    assert config.callbacks.ema is None


NCSNV2 = {  # data, size, category, σ₁, L, T, ε of the released code, batch, iterations, Adam's ε
    "cifar10": ("CIFAR10", 32, None, 50, 232, 5, 6.2e-6, 128, 300_000, 1e-8),
    "celeba64": ("CelebA", 64, None, 90, 500, 5, 3.3e-6, 128, 210_000, 1e-8),
    "lsun_church": ("LSUN", 96, "church_outdoor", 140, 788, 4, 4.9e-6, 128, 200_000, 1e-8),
    "lsun_bedroom": ("LSUN", 128, "bedroom", 190, 1086, 3, 1.8e-6, 128, 150_000, 1e-8),
    "lsun_tower": ("LSUN", 128, "tower", 190, 1086, 3, 1.8e-6, 128, 150_000, 1e-8),
    "ffhq256": ("FFHQ", 256, None, 348, 2311, 3, 9e-7, 32, 80_000, 1e-3),
}


@pytest.mark.parametrize("name", NCSNV2)
def test_experiments_are_the_runs_of_ncsnv2(name: str) -> None:
    kind, size, category, sigma_max, levels, steps, epsilon, batch, iterations, adam = NCSNV2[name]
    config = asked(f"experiment=ncsnv2_{name}")
    check(config)
    assert config.name == f"ncsnv2_{name}"
    assert (config.data._target_, config.data.get("category")) == (f"ncsn.data.{kind}", category)
    assert (config.data.image_size, config.data.channels, config.data.batch_size) == (size, 3, batch)
    assert (config.data.flip, config.data.dequantize) == (True, False)
    assert (config.model._target_, config.model.num_filters) == ("ncsn.networks.NCSNv2", 128)
    assert (config.model.image_size, config.model.depth) == (size, None)
    assert (config.noise.sigma_max, config.noise.sigma_min, config.noise.num_levels) == (sigma_max, 0.01, levels)
    assert config.objective._target_.endswith("denoising_score_matching")
    assert (config.optimizer.lr, list(config.optimizer.betas), config.optimizer.eps) == (1e-4, [0.9, 0.999], adam)
    assert (config.optimizer.weight_decay, config.trainer.max_steps) == (0, iterations)
    assert config.callbacks.ema == {"_target_": "ncsn.training.ema.EMA", "rate": 0.999, "warmup": False}
    assert config.sampler._target_ == "ncsn.samplers.AnnealedLangevin"
    assert (config.sampler.steps_per_level, config.sampler.denoise) == (steps, True)
    assert config.sampler.step_size == pytest.approx(2 * epsilon, rel=1e-12)  # the paper of 2019 doubles the code's


DDPM = {  # data, size, category, multipliers, dropout, flip, batch, learning rate, steps
    "cifar10": ("CIFAR10", 32, None, [1, 2, 2, 2], 0.1, True, 128, 2e-4, 800_000),
    "celebahq256": ("ImageFolder", 256, None, [1, 1, 2, 2, 4, 4], 0, True, 64, 2e-5, 500_000),
    "lsun_church": ("LSUN", 256, "church_outdoor", [1, 1, 2, 2, 4, 4], 0, True, 64, 2e-5, 1_200_000),
    "lsun_bedroom": ("LSUN", 256, "bedroom", [1, 1, 2, 2, 4, 4], 0, False, 64, 2e-5, 2_400_000),
}


@pytest.mark.parametrize("name", DDPM)
def test_experiments_are_the_runs_of_ddpm(name: str) -> None:
    kind, size, category, multipliers, dropout, flip, batch, lr, steps = DDPM[name]
    config = check(asked(f"experiment=ddpm_{name}"))
    assert config.name == f"ddpm_{name}"
    assert (config.data._target_, config.data.get("category")) == (f"ncsn.data.{kind}", category)
    assert (config.data.image_size, config.data.channels, config.data.batch_size) == (size, 3, batch)
    assert (config.data.flip, config.data.dequantize) == (flip, False)
    assert (config.model._target_, config.model.num_filters, config.model.blocks) == (
        "ncsn.networks.UNet",
        128,
        "ddpm",
    )
    assert (config.model.form, config.model.num_blocks, config.model.dropout) == ("ddpm", 2, dropout)
    assert (list(config.model.multipliers), list(config.model.attention_resolutions)) == (multipliers, [16])
    assert build(config.noise, "noise").equal(noise.ddpm())
    assert config.objective.weight == "sigma_squared"
    values = 3 * size**2  # theirs is the mean of squares, ours half their sum
    assert config.trainer.gradient_clip_val == values / 2
    assert config.optimizer.eps == pytest.approx(1e-8 * values / 2, rel=1e-12)
    assert (config.optimizer.lr, config.scheduler.warmup_steps, config.trainer.max_steps) == (lr, 5000, steps)
    assert (config.callbacks.ema.rate, config.callbacks.ema.warmup) == (0.9999, False)
    variance = "fixed_large" if size == 32 else "fixed_small"
    assert (config.sampler.steps, config.sampler.variance, config.sampler.clip) == (None, variance, True)


@pytest.mark.parametrize("levels", ["vp", "geometric"])
def test_the_weight_of_a_likelihood_knows_how_sigma_is_drawn(levels: str) -> None:
    """It is that of the levels that training draws from; the configuration, and so a checkpoint, has its name."""
    config = check(asked(f"objective=likelihood noise={levels} data=digits model=ncsnv2 model.num_filters=4"))
    model, distribution = build_model(config), build(config.noise, "noise")
    drawn = noise.ladder(distribution)[[0, 4, -1]]
    x, z = torch.rand(3, 1, 8, 8), torch.randn(3, 1, 8, 8)
    found = model.objective(model.network, x, drawn, normal=lambda _: z)
    plain = denoising_score_matching(model.network, x, drawn, normal=lambda _: z)
    torch.testing.assert_close(found, LikelihoodWeight(distribution)(drawn) * plain)
    assert (found / plain).std() > 1
    assert model.hparams["objective"]["weight"] == "likelihood"


@pytest.mark.parametrize(("name", "dropout"), [("edm_cifar10", None), ("edm_cifar10_conditional", 0)])
def test_the_experiments_of_edm_are_its_runs(name: str, dropout: float | None) -> None:
    config = check(asked(f"experiment={name}"))
    assert config.name == name
    assert (config.data.flip, config.data.augment) == (True, 0.12)
    assert (config.condition.dropout if config.get("condition") else None) == dropout
    model, ema = config.model, config.callbacks.ema
    assert (model.form, model.blocks, model.num_filters, model.num_blocks) == ("edm", "ddpm++", 128, 4)
    assert (list(model.multipliers), list(model.attention_resolutions), model.dropout) == ([2, 2, 2], [16], 0.13)
    assert build(config.noise, "noise") == noise.LogNormal(-1.2, 1.2, 40, 0.001, 18, 7)
    assert (config.objective.weight, config.optimizer.lr, config.optimizer.eps) == ("edm", 1e-3, 1e-8)
    assert config.trainer.max_steps * config.data.batch_size == 200e6
    assert config.scheduler.warmup_steps * config.data.batch_size == pytest.approx(10e6, rel=1e-3)
    assert (ema.rate, ema.ramp, ema.warmup) == (pytest.approx(0.5 ** (512 / 0.5e6), rel=1e-7), 0.05, False)
    assert build(config.sampler, "sampler").num_evaluations(18) == 35
    assert (config.sampler.churn, config.sampler.float64) == (0, True)
    assert config.trainer.gradient_clip_val is None


def test_the_experiment_of_the_vp_sde_is_its_run() -> None:
    config = check(asked("experiment=vp_cifar10"))
    model = config.model
    assert (model.form, model.blocks, model.num_filters, model.num_blocks) == ("ddpm", "ddpm++", 128, 4)
    assert (list(model.multipliers), list(model.attention_resolutions), model.dropout) == ([1, 2, 2, 2], [16], 0.1)
    assert build(config.noise, "noise") == noise.VP(0.1, 20, 1e-5, 1000)
    assert (config.data.batch_size, config.trainer.max_steps, config.optimizer.lr) == (128, 1_300_000, 2e-4)
    assert (config.trainer.gradient_clip_val, config.scheduler.warmup_steps) == (1536, 5000)
    assert build(config.sampler, "sampler").num_steps(1000) == 1000


PALETTE = {  # data, size, batch, steps, parameters
    "imagenet256": ("ImageFolder", 256, 1024, 1_000_000, 511_803_395),
    "celeba64": ("CelebA", 64, 128, 200_000, 23_271_235),
}


@pytest.mark.parametrize("run", PALETTE)
def test_the_experiments_of_palette_are_its_runs(run: str) -> None:
    kind, size, batch, steps, parameters = PALETTE[run]
    for task in ("Colorize", "Inpaint", "Uncrop", "Jpeg", "Multitask"):
        config = resolve_conditions(check(asked(f"experiment=palette_{run}_{task.lower()}")))
        assert config.name == f"palette_{run}_{task.lower()}"
        assert config.condition._target_ == f"ncsn.damage.{task}"
        assert (config.data._target_, config.data.image_size) == (f"ncsn.data.{kind}", size)
        assert (config.data.batch_size, config.trainer.max_steps) == (batch, steps)
        assert (config.optimizer.lr, config.scheduler.warmup_steps) == (1e-4, 10_000)
        assert (config.callbacks.ema.rate, config.callbacks.ema.warmup) == (0.9999, False)
        assert (config.objective.norm, config.model.form, config.trainer.gradient_clip_val) == ("l2", "ddpm", None)
    trained, sampler = build(config.noise, "noise"), build(config.sampler, "sampler")
    assert trained.equal(noise.ddpm(1e-6, 0.01, 2000))
    assert (sampler.num_steps(2000), sampler.betas) == (1000, [1e-4, 0.09])
    assert int((noise.ddpm(1e-4, 0.09, 1000) > trained[0]).sum()) == 532  # as the configuration says
    with torch.device("meta"):
        network = build(config.model, "model", sigmas=trained)
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_a_data_set_alone_picks_the_papers_width() -> None:
    assert asked("data=mnist").model.num_filters == 64
    assert asked("data=cifar10").model.num_filters == 128
    assert asked("data=mnist model.num_filters=5").model.num_filters == 5


@pytest.mark.parametrize(
    "option",
    [
        "trainer.accumulate_grad_batches=4",
        "trainer.gradient_clip_val=1.0 trainer.gradient_clip_algorithm=norm",
        "trainer.profiler=simple",
        "trainer.precision=bf16-mixed",
        "trainer.num_nodes=2 trainer.devices=8 trainer.strategy=ddp",
        "+trainer.overfit_batches=2",
        "+trainer.detect_anomaly=true",
    ],
)
def test_lightnings_options_stay_reachable(option: str) -> None:
    check(asked(option))


def test_lightnings_options_reach_the_trainer() -> None:
    options = "trainer.accumulate_grad_batches=4 trainer.gradient_clip_val=0.5 +trainer.overfit_batches=2"
    trainer = build(asked(f"trainer.accelerator=cpu trainer.devices=1 {options}").trainer, "trainer")
    assert isinstance(trainer, Trainer)
    assert (trainer.accumulate_grad_batches, trainer.gradient_clip_val, trainer.overfit_batches) == (4, 0.5, 2)


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("+noise.sigma_mx=1", "noise.sigma_mx=1: no such key; did you mean sigma_max"),
        ("noise.num_levels=abc", "noise.num_levels=abc"),
        ("noise.num_levels=2.5", "noise.num_levels=2.5"),
        ("noise._target_=ncsn.noise.geometri", "noise._target_=ncsn.noise.geometri: cannot be imported"),
        ("data.root='${nowhere}'", "nowhere"),
        ("data=image_folder", "data.image_size|data.root"),
        ("data.flip=maybe", r"^data\.flip=maybe: must be true or false$"),
        ("data.batch_size=1.5", r"^data\.batch_size=1\.5: must be an integer$"),
        ("data.batch_size=true", r"^data\.batch_size=True: must be an integer$"),
        ("data.batch_size=3abc", r"^data\.batch_size=3abc: must be an integer$"),
        ("data.device_resident=often", r"^data\.device_resident=often: must be true or false or auto$"),
        ("noise.sigma_max=true", r"^noise\.sigma_max=True: must be a number$"),
        ("sampler.step_size=off", r"^sampler\.step_size=off: must be a number$"),
        ("optimizer.betas=[0.9,x]", r"^optimizer\.betas=\[0\.9, 'x'\]: must be a number$"),
        ("trainer.max_steps=true", r"^trainer\.max_steps=True: must be an integer$"),
        ("trainer.precision=foo", "^trainer.precision=foo: must be .*bf16-mixed"),
        ("trainer.max_time=7", r"^trainer\.max_time=7: must be a string or a time as DD:HH:MM:SS or a dictionary$"),
        ("optimizer.betas=[0.9]", r"^optimizer\.betas=\[0\.9\]: must be a longer list$"),
        ("optimizer.betas=[1,1,1]", r"^optimizer\.betas=\[1, 1, 1\]: must be a list of at most 2 values$"),
        ("optimizer.eps=1e-50", r"^optimizer\.eps=1e-50: must be a number that float32 has, 0 or from"),
        ("optimizer.lr=nan", r"^optimizer\.lr=nan: must be a number that float32 has"),
        ("noise.sigma_max=1e50", r"^noise\.sigma_max=1e\+50: must be a number that float32 has"),
        ("data.batch_size=1e30", r"^data\.batch_size=1e\+30: must be an integer of 64 bits$"),
        ("data.seed=9223372036854775808", r"^data\.seed=9223372036854775808: must be an integer of 64 bits$"),
        ("sampler.denoise={a:1}", r"^sampler\.denoise=\{'a': 1\}: must be true or false$"),
        ("seed='${nowhere}'", r"^seed: Interpolation key 'nowhere' not found$"),
        ("name='" + 5000 * "x" + "' data.flip=" + 5000 * "x", r"^data\.flip=x{100}…: must be true or false$"),
        ("data._target_=ncsn", r"^data\._target_=ncsn: must be a class or a function, not a module$"),
    ],
)
def test_what_is_wrong_is_named(option: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        check(asked(option))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("data.flip=no", False),
        ("data.flip=on", True),
        ("data.device_resident=off", False),
        ("data.device_resident=auto", "auto"),
        ("data.batch_size=1e2", 100),
        ("data.batch_size=8.0", 8),
        ("data.batch_size='32'", 32),
        ("noise.sigma_max=2", 2.0),
        ("model.image_size=${data.image_size}", 8),
        ("sampler.step_size=null", None),
        ("optimizer.fused=no", False),
        ("optimizer.weight_decay=1", 1.0),
        ("optimizer.betas=[0,0.5]", [0.0, 0.5]),
        ("callbacks.ema.warmup=no", False),
        ("trainer.devices=2", 2),
        ("trainer.devices=[0,1]", [0, 1]),
        ("trainer.devices=auto", "auto"),
        ("trainer.max_steps=1e3", 1000),
        ("trainer.precision=bf16-mixed", "bf16-mixed"),
        ("trainer.limit_val_batches=10", 10),
        ("trainer.limit_val_batches=1.0", 1.0),
        ("trainer.val_check_interval=0.5", 0.5),
        ("trainer.val_check_interval=2e0", 2),
        ("trainer.max_time=00:01:00:00", "00:01:00:00"),
        ("trainer.benchmark=off", False),
    ],
)
def test_plain_meanings_become_the_type_they_are_meant_for(written: str, meant: Any) -> None:
    key = written.partition("=")[0]
    found = OmegaConf.select(check(asked(written)), key)
    assert (found, type(found if not isinstance(meant, list) else list(found))) == (meant, type(meant))
    if isinstance(meant, list):
        assert [type(x) for x in found] == [type(x) for x in meant]


def test_settings_of_a_node_go_beyond_its_signature() -> None:
    hint = {"trainer.max_steps": Annotated[int, Field(ge=1)], "trainer.nowhere": int, "nowhere.x": int}
    assert check(asked("trainer.max_steps=1e1"), hint).trainer.max_steps == 10
    with pytest.raises(ConfigError, match=r"^trainer\.max_steps=0: must be at least 1$"):
        check(asked("trainer.max_steps=0"), hint)


@pytest.mark.parametrize(
    ("node", "told"),
    [
        (7, "^x=7: must be a node"),
        ({"a": 1}, "^x={'a': 1}: must be a node"),
        ({"_target_": "builtins.dict", "_partial_": True}, "^x._partial_=true: goes with objective"),
    ],
)
def test_what_is_no_node_is_not_built(node: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        build(OmegaConf.create({"x": node}).x, "x")


def test_what_was_checked_is_what_is_built() -> None:
    config = check(asked("data.flip=no +optimizer.amsgrad=no"))
    assert build(config.data, "data").flip is False
    assert build(config.optimizer, "optimizer")([torch.zeros(1)]).defaults["amsgrad"] is False


def test_nodes_within_nodes_are_checked() -> None:
    within = {"_target_": "lightning.pytorch.strategies.SingleDeviceStrategy", "device": "cpu"}
    plugin = {"_target_": "lightning.pytorch.plugins.environments.LightningEnvironment"}
    node = {"_target_": "lightning.Trainer", "strategy": within, "plugins": [plugin], "logger": False}
    assert isinstance(build(check(OmegaConf.create({"trainer": node})).trainer, "trainer"), Trainer)
    plugin["port"] = "1"
    with pytest.raises(ConfigError, match=r"^trainer\.plugins\[0\]\.port=1: no such key"):
        check(OmegaConf.create({"trainer": node}))


def test_an_interpolation_that_is_meant_literally_stays_text() -> None:
    for text in (r"a\${b}", r"\\${name}/\${b}"):
        config = OmegaConf.create({"name": "x", "root": text})
        assert check(config).root == check(check(config)).root == config.root


SETTINGS = {
    "num_samples": Annotated[int, Field(ge=1)] | None,
    "batch_size": Annotated[int, Field(ge=1)] | Literal["auto"],
    "format": Literal["npz", "png"],
    "compile": bool,
    "absent": int,
}


def test_settings_are_checked_and_converted() -> None:
    config = OmegaConf.create({"num_samples": 1e3, "batch_size": "auto", "format": "png", "compile": "no"})
    checked = check(config, SETTINGS)
    assert checked == {"num_samples": 1000, "batch_size": "auto", "format": "png", "compile": False}
    assert type(checked.num_samples) is int


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("num_samples", 0, "num_samples=0: must be at least 1"),
        ("num_samples", "many", "num_samples=many: must be an integer"),
        ("batch_size", -1, "batch_size=-1: must be at least 1 or auto"),
        ("format", "jpg", "format=jpg: must be npz or png"),
        ("compile", "maybe", "compile=maybe: must be true or false"),
        ("compile", None, "compile=None: must be true or false"),
    ],
)
def test_a_wrong_setting_is_named(key: str, value: Any, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check(OmegaConf.create({key: value}), SETTINGS)
    assert str(raised.value) == told


@pytest.mark.parametrize("node", [{"a": {"_convert_": "all"}}, {"a": {"_target_": None, "_partial_": True}}])
def test_how_a_node_is_built_is_nothing_without_what_is_built(node: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^a\._(convert|partial)_=(all|True): says how a\._target_ is built"):
        check(OmegaConf.create(node))


def test_ranges_are_those_of_the_constructors() -> None:
    with pytest.raises(ConfigError, match=r"^noise\.sigma_max=0\.001: must be greater than sigma_min"):
        build(asked("noise.sigma_max=0.001").noise, "noise")


def test_a_partial_node_is_built_into_a_function() -> None:
    make = build(asked("optimizer.lr=0.5").optimizer, "optimizer")
    assert make([torch.zeros(1)]).param_groups[0]["lr"] == 0.5


def test_plain_containers_reach_what_is_built() -> None:
    node = OmegaConf.create({"_target_": "builtins.dict", "betas": [0.9, 0.999]})
    assert type(build(node, "x")["betas"]) is list


def test_slug_is_short_harmless_and_unique() -> None:
    assert slug("noise.sigma_max=1,5") == "noise.sigma_max-1-5"
    assert slug("/") == "run"
    long = ["x" * 200 + end for end in "ab"]
    assert len({slug(text) for text in long}) == 2
    assert all(len(slug(text)) < 200 for text in long)


@pytest.mark.parametrize(("accelerator", "has", "precision"), [
    ("cpu", ["cpu"], "bf16-mixed"),
    ("cpu", ["cuda"], "32-true"),  # a processor that is slower in it
    ("gpu", ["cuda"], "bf16-mixed"),
    ("mps", ["cpu"], "32-true"),
])  # fmt: skip
def test_fast_is_in_bfloat16_where_that_is_faster(
    accelerator: str, has: list[str], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ncsn.networks.compiled.has_fast_bfloat16", lambda device_type: device_type in has)
    assert asked(f"speed=fast trainer.accelerator={accelerator}").trainer.precision == precision
