"""Noise levels from a data set: what is computed is kept with it, and what is recorded are numbers."""

import json
import logging
import math
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
from composing import asked, composed

from ncsn import files, noise
from ncsn.config import build, check
from ncsn.data import Digits
from ncsn.errors import ConfigError, DataError
from ncsn.training import levels


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("digits"))


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of every computation from here on, whether it was an exact one."""
    calls: list[bool] = []
    whole = noise.max_pairwise_distance

    def counted(images: Any, **options: Any) -> noise.MaxDistance:
        calls.append(options["exact"])
        return whole(images, **options)

    monkeypatch.setattr(noise, "max_pairwise_distance", counted)
    return calls


# The distance, kept.


def test_the_distance_is_computed_once(tmp_path: Path, computed: list[bool]) -> None:
    data = Digits(root=str(tmp_path))
    first = levels.largest_distance(data)
    assert first == noise.max_pairwise_distance(data.images("train"), exact=True)
    assert levels.largest_distance(Digits(root=str(tmp_path))) == first
    assert computed == [True, True]  # the second was the test's own


def test_an_exact_distance_serves_for_an_estimate_but_not_the_other_way_round(
    tmp_path: Path, computed: list[bool]
) -> None:
    data = Digits(root=str(tmp_path))
    estimate = levels.largest_distance(data, exact=False)
    assert levels.largest_distance(data, exact=False) == estimate
    exact = levels.largest_distance(data)
    assert estimate.distance <= exact.distance <= estimate.upper_bound
    assert levels.largest_distance(data, exact=False) == exact
    assert computed == [False, True]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1}', '{"distance": 5'])
def test_a_damaged_file_is_replaced(tmp_path: Path, computed: list[bool], content: str) -> None:
    data = Digits(root=str(tmp_path))
    first = levels.largest_distance(data)
    path = data.cache_folder("train") / "distance.json"
    whole = path.read_text()
    path.write_text(content)
    assert levels.largest_distance(data) == first
    assert path.read_text() == whole
    assert computed == [True, True]


def test_images_that_changed_have_another_distance(tmp_path: Path, computed: list[bool]) -> None:
    data = Digits(root=str(tmp_path))
    levels.largest_distance(data)
    meta = data.cache_folder("train") / "meta.json"
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"files": "others"}))
    levels.largest_distance(data)  # decodes anew, and the folder that is replaced takes its distance along
    assert computed == [True, True]


@pytest.mark.skipif(os.name == "nt", reason="folders that cannot be written are made otherwise there")
def test_where_nothing_can_be_written_it_is_computed_every_time(
    tmp_path: Path, computed: list[bool], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = Digits(root=str(tmp_path))
    data.prepare_data()

    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(levels, "write_text", refused)
    monkeypatch.setattr(files.FileLock, "acquire", refused)
    assert levels.largest_distance(data) == levels.largest_distance(data)
    assert computed == [True, True]
    assert "distance.json: cannot be kept (Permission denied)" in caplog.text


def _ask(root: str, answers: Any) -> None:
    calls = []
    whole = noise.max_pairwise_distance
    noise.max_pairwise_distance = lambda images, **o: calls.append(1) or whole(images, **o)  # type: ignore[assignment]
    answers.put((levels.largest_distance(Digits(root=root)), len(calls)))


def test_of_several_processes_one_computes_and_the_others_wait(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    processes = [context.Process(target=_ask, args=(str(tmp_path), answers)) for _ in range(3)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert len({answer for answer, _ in found}) == 1
    assert sorted(calls for _, calls in found) == [0, 0, 1]


def test_no_data(tmp_path: Path) -> None:
    data = build(composed(f"data=cifar10 data.root={tmp_path} data.download=false").data, "data")
    with pytest.raises(DataError, match="data_batch_1: missing"):
        levels.largest_distance(data)


# The configuration, in numbers.


def test_the_rules_become_numbers(root: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    config = composed(f"noise=from_data data.root={root}")
    check(config)
    assert levels.is_from_data(config)
    chosen = levels.resolve_levels(config, "cpu")
    assert levels.is_from_data(config)  # untouched
    sigma_max = levels.largest_distance(Digits(root=root)).distance
    assert chosen.noise == {
        "_target_": "ncsn.noise.geometric",
        "sigma_max": sigma_max,
        "sigma_min": 0.01,
        "num_levels": noise.num_levels(sigma_max, 0.01, 64),
    }
    gamma = noise.ratio(build(chosen.noise, "noise"))
    assert (chosen.sampler.steps_per_level, chosen.sampler.denoise) == (5, True)
    assert chosen.sampler.step_size == pytest.approx(noise.step_size(0.01, gamma, 5))
    check(chosen)
    for word in ("σ₁   4.81372", "technique 1", "L    22", "technique 2", "technique 4", "snr"):
        assert word in caplog.text


def test_what_is_given_is_not_chosen(tmp_path: Path) -> None:
    given = "noise.sigma_max=3 noise.num_levels=7 sampler.step_size=1e-5 sampler.steps_per_level=2"
    chosen = levels.resolve_levels(composed(f"noise=from_data data.root={tmp_path}/nowhere {given}"))
    assert (chosen.noise.sigma_max, chosen.noise.num_levels) == (3, 7)
    assert (chosen.sampler.step_size, chosen.sampler.steps_per_level) == (1e-5, 2)
    assert not (tmp_path / "nowhere").exists()  # no image was needed


def test_an_overlap_of_ones_own(root: str) -> None:
    few, many = (
        levels.resolve_levels(asked(f"noise=from_data data.root={root} noise.overlap={overlap}")).noise.num_levels
        for overlap in (0.1, 0.9)
    )
    assert few < 22 < many


def test_a_step_of_technique_4_for_levels_that_are_given() -> None:
    config = composed("data=cifar10 noise=ncsnv2")
    assert (config.noise.sigma_max, config.noise.num_levels) == (50, 232)
    assert levels.resolve_levels(config).sampler.step_size == pytest.approx(2 * 6.2e-6, rel=0.01)
    slower = composed("data=cifar10 noise=ncsnv2 sampler.steps_per_level=10")
    assert levels.resolve_levels(slower).sampler.step_size < 2 * 6.2e-6


def test_a_configuration_in_numbers_stays_what_it_is() -> None:
    for arguments in ("", "experiment=cifar10", "sampler=consistent", "model=energy sampler=mala", "experiment=demo"):
        config = composed(arguments)
        assert levels.resolve_levels(config) is config


def test_other_samplers_are_left_alone(root: str) -> None:
    chosen = levels.resolve_levels(composed(f"noise=from_data data.root={root} sampler=consistent"))
    assert chosen.sampler == composed("sampler=consistent").sampler


@pytest.mark.parametrize(("size", "ends"), [(32, (50, 232)), (64, (90, 500)), (256, (348, 2311))])
def test_the_published_ladder_follows_the_size(size: int, ends: tuple[int, int]) -> None:
    config = asked(f"data=image_folder data.root=x data.image_size={size} noise=ncsnv2")
    assert (config.noise.sigma_max, config.noise.num_levels) == ends
    assert check(config)["noise"]["sigma_min"] == 0.01


def test_sizes_without_a_published_ladder() -> None:
    with pytest.raises(ConfigError, match=r"^noise\.sigma_max: .*image_size=8: no ladder was published for it"):
        check(composed("noise=ncsnv2"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("noise.sigma_min=0", r"^noise\.sigma_min=0: must be positive"),
        ("noise.num_levels=1", r"^noise\.num_levels=1: must be at least 2"),
        ("noise.sigma_max=0.001", r"^noise\.sigma_max=0\.001: must be greater than sigma_min"),
        ("noise.overlap=1", r"^noise\.overlap=1: must lie between 0 and 0\.9973"),
        ("noise.sigma_min=9", r"^noise=from_data: the training images of digits are at most 4\.81 apart"),
        ("noise=geometric noise.sigma_max=0.01 noise.num_levels=1 sampler.step_size=null", r"^sampler\.step_size="),
    ],
)
def test_what_is_wrong_is_named(root: str, arguments: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        levels.resolve_levels(asked(f"noise=from_data data.root={root} {arguments}"))


def test_the_table_of_a_sampler_with_another_convention(root: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    chosen = levels.resolve_levels(
        composed(f"noise=from_data data.root={root} sampler=ald_released sampler.step_lr=1e-5 noise.num_levels=20")
    )
    assert chosen.sampler.step_lr == 1e-5
    assert "ε    2e-05" in caplog.text
    assert "ε/2  1e-05" in caplog.text
    assert f"{noise.snr(2e-5, 0.01):.4g}" in caplog.text
    assert math.isclose(noise.snr(2e-5, 0.01), math.sqrt(1e-5 / 2) / 0.01)


@pytest.mark.parametrize(
    ("step_size", "told"),
    [("1.24e-5", "leave each level with 1.128 of its noise"), ("4e-4", "the noise of the chains grows")],
)
def test_the_table_tells_what_a_step_leaves_over_the_ladder(step_size: str, told: str) -> None:
    config = asked(f"data=cifar10 noise=ncsnv2 sampler.step_size={step_size}")
    text = levels.Table(config).text(build(config.noise, "noise"), build(config.sampler, "sampler"))
    assert told in text
