"""What the studio shows, without a browser: the samples of `ncsn sample`, restorations, neighbours, comparisons."""

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from composing import asked
from torch import Tensor, nn

from ncsn import mixture
from ncsn.config import build
from ncsn.errors import ConfigError
from ncsn.samplers import num_evaluations
from ncsn.studio import compare, draw, given, inside, restore, samplers, showing
from ncsn.studio.live import bytes_of
from ncsn.studio.networks import Network, Networks, device_of
from ncsn.studio.page import header
from ncsn.studio.settings import Settings

Make = Callable[..., Networks]
DPM, LANGEVIN = samplers.WITHOUT_NOISE, samplers.LANGEVIN


@pytest.fixture(scope="module")
def plain(networks: Make) -> Network:
    return networks().first


@pytest.fixture(scope="module")
def labelled(networks: Make) -> Network:
    return networks("condition=label").first


@pytest.fixture(scope="module")
def palette(networks: Make) -> Network:
    return networks("condition=multitask", "condition.damages=[inpaint,jpeg]").first


def last(moments: Any) -> Any:
    *_, end = moments
    return end


@pytest.mark.slow
@pytest.mark.parametrize("name", [DPM, LANGEVIN])
def test_it_draws_what_the_command_beneath_draws(
    labelled: Network, name: str, call: Any, tmp_path: Path, networks: Make
) -> None:
    ckpt = str(networks("condition=label").paths[labelled.name])
    settings = Settings(name, 7, count=3, seed=5, label="2", guidance=1.5)
    moment, drawn = last(draw.draw(labelled, settings))
    command = shlex.split(" ".join(draw.terminal(ckpt, labelled, settings)))
    call(*command[1:], f"out={tmp_path}", "trainer.accelerator=cpu", cwd=tmp_path)
    samples = np.load(tmp_path / "samples.npz")["arr_0"]
    assert np.array_equal(bytes_of(moment.x).permute(0, 2, 3, 1), samples)
    assert torch.equal(drawn.frames[-1], bytes_of(moment.x))


@pytest.mark.parametrize("name", samplers.CHOICES)
def test_a_sampler_keeps_to_its_evaluations_and_is_that_of_the_command_line(name: str, plain: Network) -> None:
    levels = len(plain.score.sigmas)
    trained = plain.score.config["sampler"]
    for evaluations, clip in ((3, True), (10, False), (101, True)):
        score = replace(plain.score, config=plain.score.config | {"sampler": trained | {"clip": clip}})
        sampler = samplers.sampler_of(score, name, evaluations)
        steps_of = levels if "Langevin" in name else 2  # the same for every level, or an evaluation or two
        assert evaluations - steps_of < num_evaluations(sampler, levels) <= max(evaluations, 4)
        overrides = samplers.overrides_of(score, name, evaluations)
        config = asked(["ckpt=none", *overrides], "sample")
        assert build(config.sampler, "sampler") == sampler


@pytest.mark.parametrize(
    ("trained", "held"), [("AnnealedLangevin", samplers.TRAINED), ("MetropolisLangevin", LANGEVIN)]
)
def test_algorithm_2_begins_with_a_sampler_that_it_can_hold(trained: str, held: str, plain: Network) -> None:
    config = {"sampler": {"_target_": f"ncsn.samplers.{trained}"}}
    score = replace(plain.score, network=nn.Identity(), config=config)
    assert samplers.suggested(score) == (samplers.TRAINED, 100)
    assert samplers.suggested(score, held=True) == (held, 100)


def test_an_image_has_a_chain_and_neighbours(plain: Network) -> None:
    _, drawn = last(draw.draw(plain, Settings(DPM, 20, count=2)))
    assert len(drawn.frames) == draw.FRAMES + 1
    training = plain.training_data().images("train")
    drawn.frames[-1] = training[[7, 9]].clone()
    shown = draw.about(drawn, 1)
    assert showing.data_uri(training[9]) in shown
    assert ">0.00<" in shown
    assert "Draw first" in draw.about(None, 0)
    assert "Draw first" in draw.about(drawn, 2)


def test_training_images_that_are_not_here_are_said_to_be_missing_and_not_fetched(
    plain: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from ncsn.data import mnist

    monkeypatch.setattr(mnist, "fetch", lambda *_: pytest.fail("downloads"))
    data = {"_target_": "ncsn.data.MNIST", "root": str(tmp_path / "none")}
    away = Network("away", replace(plain.score, config=plain.score.config | {"data": data}), plain.device)
    _, drawn = last(draw.draw(away, Settings(DPM, 3, count=1)))
    assert "not on this machine" in draw.about(drawn, 0)
    for of_data in (lambda: restore.one_of_the_data_set(away), lambda: next(inside.losses(away))):
        with pytest.raises(ConfigError, match=r"not on this machine.*data\.root=FOLDER"):
            of_data()


def image_and_hole(network: Network) -> tuple[Tensor, Tensor]:
    pixels = network.given_images()[:1].clone()
    hole = torch.zeros(pixels.shape[-2:], dtype=torch.bool)
    hole[2:5, 2:6] = True
    return pixels, hole


@pytest.mark.parametrize("kind", ["plain", "labelled", "palette"])
def test_known_pixels_stay_and_completions_differ(kind: str, request: pytest.FixtureRequest) -> None:
    network = request.getfixturevalue(kind)
    pixels, hole = image_and_hole(network)
    for words, choice in given.choices(network).items():
        moment, beside = last(restore.restore(network, words, pixels, hole, Settings(DPM, 6, count=2)))
        found = bytes_of(moment.x)
        assert len(found) == (2 if choice.samples else 1)
        assert torch.equal(bytes_of(beside["original"]), pixels)
        if choice.paints:
            assert torch.equal(found[:, :, ~hole], pixels.expand_as(found)[:, :, ~hole])
            assert not torch.equal(found[0], found[1])
            assert bool((bytes_of(beside["measured"])[0, 0][hole] == 128).all())


@pytest.mark.parametrize(("fill", "expected"), [(False, "Nothing is painted"), (True, "All of the image is painted")])
def test_a_hole_that_says_nothing_is_refused(plain: Network, palette: Network, fill: bool, expected: str) -> None:
    for network in (plain, palette):
        pixels, hole = image_and_hole(network)
        with pytest.raises(ConfigError, match=expected):
            next(restore.restore(network, given.PAINT, pixels, hole.fill_(fill), Settings(DPM, 6, count=2)))


def test_what_was_painted_comes_back_and_anything_else_is_refused(plain: Network) -> None:
    pixels, hole = image_and_hole(plain)
    sheet = restore.sheet(pixels, hole)
    assert torch.equal(restore.painted_on(sheet, *hole.shape), hole)
    for wrong in (None, {}, {"hole": 7}, {"hole": "01"}, {"hole": "2" * hole.numel()}):
        with pytest.raises(ConfigError, match="did not arrive"):
            restore.painted_on(wrong, *hole.shape)


def test_a_network_trained_by_regression_gives_one_estimate(networks: Make) -> None:
    regression = networks("condition=inpaint", "objective=regression").first
    pixels, hole = image_and_hole(regression)
    ((words, _),) = given.choices(regression).items()
    moment, _ = last(restore.restore(regression, words, pixels, hole, Settings(samplers.TRAINED, 10, count=3)))
    assert len(moment.x) == 1
    with pytest.raises(ConfigError, match="does not suit this network"):
        next(restore.restore(regression, words, pixels, hole, Settings(DPM, 10, count=3)))
    assert "one estimate" in restore.how(regression)
    assert "trained by regression" in header(regression)


def test_networks_that_restore_do_not_draw(palette: Network) -> None:
    assert not palette.draws
    with pytest.raises(ConfigError, match="draws none without a damaged one"):
        next(draw.draw(palette, Settings(DPM, 3, count=1)))


def test_two_networks_draw_from_one_seed(networks: Make) -> None:
    of_run = networks("condition=label", against=None)
    earlier = of_run.load(of_run.names[1])
    assert "step 2" in earlier.name
    settings = Settings(DPM, 5, count=2)
    left, right = last(compare.compare((of_run.first, settings), (earlier, settings)))
    assert left.is_last
    assert right.is_last
    assert not torch.equal(left.x, right.x)
    assert "0.000 on average" in compare.difference(left, left)
    side = (of_run.first, replace(settings, label="3"))
    one, other = last(compare.compare(side, side))
    assert torch.equal(one.x, other.x)
    with pytest.raises(ConfigError, match="no such network"):
        of_run.load("/etc/passwd")


def test_chains_in_the_toy_show_what_annealing_is_for() -> None:
    *_, (plain, annealed) = inside.chains(seed=0, steps_per_level=100)
    shares = [float(text.split("<b>")[-1].split("%")[0]) / 100 for text in (plain, annealed)]
    assert abs(shares[0] - 0.5) < 0.1  # half of the starts lie on the side of the small mode
    assert abs(shares[1] - mixture.WEIGHTS[0]) < 0.07
    assert "step 1,000 of 1,000" in annealed


def test_the_field_of_the_toy_follows_the_noise() -> None:
    fields = [inside.plane(sigma, arrows=True) for sigma in (1.0, 20.0)]
    assert fields[0] != fields[1]
    assert all(field.count("l") > 2 * inside.ARROWS**2 for field in fields)


@pytest.mark.parametrize("kind", ["plain", "palette"])
def test_the_loss_comes_level_by_level(kind: str, request: pytest.FixtureRequest) -> None:
    *some, whole = inside.losses(request.getfixturevalue(kind))
    assert len(some) + 1 == min(inside.MOST_LEVELS, len(request.getfixturevalue(kind).score.sigmas))
    assert whole.count("<circle") > some[0].count("<circle") > 0
    assert "2 × loss" in whole


def test_a_device_that_is_not_here_is_named() -> None:
    with pytest.raises(ConfigError, match="device=cuda:77: no such device here"):
        device_of("cuda:77")


def test_text_of_others_is_text() -> None:
    for shown in (showing.note("<script>"), showing.heading("<b>"), showing.command(["<i>"])):
        assert not {"<script>", "<b>", "<i>"} & {shown[i : i + 8] for i in range(len(shown))}
        assert "&lt;" in shown
