"""`ncsn noise` and `noise=from_data`, as a user types them."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from ncsn import load_score, noise
from ncsn.data import Digits
from ncsn.training.levels import largest_distance

pytestmark = pytest.mark.slow
Command = Callable[..., Any]

SHORT = ["noise=from_data", "noise.num_levels=null", "noise.overlap=0.05"]  # few levels, for the sake of the seconds


def rows(text: str) -> dict[str, str]:
    """The table's values by their symbols."""
    return {m[1]: m[2] for m in re.finditer(r"^  (\S+) +(\S+) +\S", text, re.MULTILINE)}


def test_the_table(call: Command, tmp_path: Path) -> None:
    outcome = call("noise", f"data.root={tmp_path}", "sampler.steps_per_level=7", cwd=tmp_path)
    found = largest_distance(Digits(root=str(tmp_path)))
    table = rows(outcome.out)
    assert table["σ₁"] == f"{found.distance:.6g}"
    assert f"images {found.pair[0]} and {found.pair[1]}" in outcome.out
    assert (table["σ_L"], table["L"], table["T"]) == ("0.01", "22", "7")
    gamma = (found.distance / 0.01) ** (1 / 21)
    epsilon = noise.step_size(0.01, gamma, 7)
    assert float(table["γ"]) == pytest.approx(gamma, rel=1e-5)
    assert float(table["ε"]) == pytest.approx(epsilon, rel=1e-3)
    assert float(table["ε/2"]) == pytest.approx(epsilon / 2, rel=1e-3)
    assert float(table["snr"]) == pytest.approx(noise.snr(epsilon, 0.01), rel=1e-3)
    assert "ncsn train data=digits noise=from_data sampler.steps_per_level=7" in outcome.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache"]


def test_the_commands_it_proposes_are_commands(
    call: Command, tiny: list[str], only_run: Command, tmp_path: Path
) -> None:
    outcome = call("noise", f"data.root={tmp_path}", "noise.overlap=0.05", cwd=tmp_path)
    numbers = re.search(r"in numbers: ncsn train (.*)", outcome.out)
    assert numbers is not None
    without = [word for word in tiny if not word.startswith(("noise.", "sampler.", "trainer.max_steps"))]
    call("train", *without, "trainer.max_steps=2", *numbers[1].split(), cwd=tmp_path)
    assert (only_run(tmp_path) / "checkpoints" / "last.ckpt").exists()


def test_which_step_for_my_levels(call: Command, tmp_path: Path) -> None:
    """No data set is touched for it."""
    levels = ["noise=geometric", "noise.sigma_max=50", "noise.num_levels=232", "data=cifar10", "data.root=nowhere"]
    table = rows(call("noise", *levels, cwd=tmp_path).out)
    assert (table["ε/2"], table["snr"]) == ("6.184e-06", "0.1758")
    given = call("noise", *levels, "sampler.step_size=4e-5", cwd=tmp_path).out
    assert (rows(given)["ε"], rows(given)["snr"]) == ("4e-05", "0.3162")
    assert "technique 4 would have 1.237e-05" in given
    assert list(tmp_path.iterdir()) == []


def test_an_estimate_says_so(call: Command, tmp_path: Path) -> None:
    outcome = call("noise", f"data.root={tmp_path}", "noise.exact=false", cwd=tmp_path)
    assert "technique 1, estimated" in outcome.out
    assert "none is above" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("noise.sigma_mx=3", ["noise.sigma_mx", "did you mean sigma_max?"]),
        ("data=mnits", ["mnits", "mnist"]),
        ("noise.overlap=2", ["noise.overlap=2", "between 0 and 0.9973"]),
        ("sampler.steps_per_level=0", ["sampler.steps_per_level=0", "at least 1"]),
        ("accelerator=abacus", ["accelerator=abacus", "auto, cpu, gpu or cuda"]),
        ("noise=edm", ["noise._target_=ncsn.noise.LogNormal", "noise=from_data, geometric or ncsnv2"]),
        ("data=cifar10 data.root=nowhere data.download=false", ["nowhere", "data.root"]),
    ],
)
def test_what_is_wrong_is_told_in_one_line(call: Command, tmp_path: Path, arguments: str, told: list[str]) -> None:
    outcome = call("noise", *arguments.split(), cwd=tmp_path, check=False)
    assert outcome.status == 2
    (line,) = outcome.err.splitlines()
    assert [word for word in told if word not in line] == []


def test_a_module_in_a_process_of_its_own(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ncsn", "noise", "noise=geometric", "noise.sigm=1"]
    outcome = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert outcome.returncode == 2
    (line,) = outcome.stderr.splitlines()
    assert "noise.sigm: no such key; did you mean sigma_min?" in line or "did you mean sigma_max?" in line


def test_a_run_records_numbers_and_sampling_needs_nothing_else(
    call: Command, tiny: list[str], only_run: Command, tmp_path: Path
) -> None:
    outcome = call("train", *tiny, *SHORT, cwd=tmp_path)
    assert outcome.out.count("noise levels for digits, 8×8×1: D = 64") == 1
    folder = only_run(tmp_path)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["noise"]["_target_"] == "ncsn.noise.geometric"
    assert config["noise"]["sigma_max"] == pytest.approx(4.81372, abs=1e-5)
    score = load_score(folder)
    sigmas = noise.geometric(*(config["noise"][key] for key in ("sigma_max", "sigma_min", "num_levels")))
    assert torch.equal(score.sigmas, sigmas)
    epsilon = noise.step_size(0.01, noise.ratio(sigmas), 2)  # T of the tiny runs
    assert config["sampler"]["step_size"] == pytest.approx(epsilon)
    assert score.config["sampler"] == config["sampler"]
    sampled = call("sample", f"ckpt={folder}", "num_samples=2", "trainer.accelerator=cpu", cwd=tmp_path)
    assert f"step_size={config['sampler']['step_size']}" in sampled.out

    again = call("train", *tiny, *SHORT, "resume=true", "trainer.max_steps=8", cwd=tmp_path)
    assert again.status == 0
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 8


def test_a_sweep_knows_its_jobs_again(call: Command, tiny: list[str], tmp_path: Path) -> None:
    arguments = ["-m", "noise.sigma_min=0.1,0.5", *tiny, *SHORT, "trainer.max_steps=2", "sweep=mine"]
    call("train", *arguments, cwd=tmp_path)
    assert call("train", *arguments, cwd=tmp_path).out.count("finished before, not run again") == 2


def test_what_is_wrong_elsewhere_is_told_before_the_data_is_read(call: Command, tmp_path: Path) -> None:
    for wrong in ("model.num_filters=0", "sampler.steps_per_level=0", "data=mnist objective=exact", "sampler=mala"):
        arguments = ["noise=from_data", f"data.root={tmp_path}/nowhere", *wrong.split()]
        outcome = call("train", *arguments, cwd=tmp_path, check=False)
        assert outcome.status == 2
        assert not (tmp_path / "nowhere").exists()


def test_two_processes_choose_the_same(call: Command, tiny: list[str], only_run: Command, tmp_path: Path) -> None:
    root = [f"data.root={tmp_path / 'fresh'}"]
    two = ["trainer.devices=2", "trainer.strategy=ddp_fork", "trainer.max_steps=2", "callbacks.progress=null"]
    call("train", *tiny, *SHORT, *root, *two, "trainer.enable_progress_bar=false", cwd=tmp_path)
    folder = only_run(tmp_path)
    assert (folder / "train.log").read_text().count("technique 1: the largest distance") == 1
    assert (folder / "checkpoints" / "last.ckpt").exists()
