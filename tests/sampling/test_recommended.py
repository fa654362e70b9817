"""The sampler that suits a network."""

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from references import HERE
from torch import nn

from ncsn import load_score, noise
from ncsn.checkpoint import TrainedScore
from ncsn.errors import ConfigError
from ncsn.networks import UNet
from ncsn.sampling.prepare import sampler_node
from ncsn.sampling.recommended import REGRESSION, recommended

ALD: dict[str, Any] = {"_target_": "ncsn.samplers.AnnealedLangevin", "steps_per_level": 3}
TWENTY: dict[str, Any] = {"_target_": "ncsn.samplers.DPMSolverPP", "steps": 20, "spacing": "karras", "eta": 1.0}


def of(network: nn.Module) -> TrainedScore:
    return TrainedScore(network, torch.ones(1), (3, 8, 8), {"sampler": ALD}, "ema", 1)


def test_a_network_of_a_ladder_keeps_the_sampler_of_its_training() -> None:
    node, why = recommended(of(nn.Identity()))
    assert node == ALD
    assert re.search("Identity knows the levels of its ladder alone", why)


@pytest.mark.parametrize("form", ["edm", "ddpm", "v"])
def test_a_form_takes_twenty_evaluations(form: Any) -> None:
    small: dict[str, Any] = {"image_size": 8, "num_filters": 8, "multipliers": [1], "attention_resolutions": []}
    node, why = recommended(of(UNet(noise.ddpm(), form=form, **small)))
    assert node == TWENTY
    assert f"SDE-DPM-Solver++(2M), since UNet is of the form {form}" in why


def test_what_the_scheduler_of_diffusers_clips_is_clipped() -> None:
    score = load_score(HERE / "ddpm")
    assert recommended(score)[0] == TWENTY | {"clip": True}
    assert "clipped as in its training" in recommended(score)[1]
    config = score.config | {"sampler": score.config["sampler"] | {"clip": False}}
    assert recommended(replace(score, config=config))[0] == TWENTY


def test_another_network_keeps_the_one_evaluation_of_regression_whatever_the_first_is_drawn_by() -> None:
    regression = replace(of(nn.Identity()), config={"sampler": {"_target_": REGRESSION}})
    config = OmegaConf.create({"sampler": {"_target_": "ncsn.samplers.Heun", "steps": 5}})
    assert sampler_node(config, regression, beside=True) == {"_target_": REGRESSION}
    with pytest.raises(ConfigError, match="leave the sampler out"):
        sampler_node(config, regression, beside=False)
