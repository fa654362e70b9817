"""Energies from the command line: trained as scores are, sampled with a correction that scores do not allow."""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ncsn import load_score
from ncsn.samplers import MetropolisLangevin

pytestmark = pytest.mark.slow
Command = Callable[..., Any]

CPU = ["trainer.accelerator=cpu", "trainer.devices=1"]
ENERGY = ["model=energy", "data.batch_size=8", "trainer.val_check_interval=2"]


@pytest.fixture(scope="module")
def energies(
    call: Command, tiny_ncsn: list[str], only_run: Command, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    cwd = tmp_path_factory.mktemp("energy")
    pictures = ["callbacks.samples.every_n_steps=4", "sampler=mala"]
    call("train", *tiny_ncsn, *ENERGY, "trainer.max_steps=4", *pictures, cwd=cwd)
    return only_run(cwd)


def last(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def losses(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [float(row[key]) for row in csv.DictReader(file) for key in ("train/loss", "val/loss") if row[key]]


@pytest.mark.parametrize("sampler", ["trained", "hmc", "ald"])
def test_is_drawn_from(sampler: str, energies: Path, call: Command, tmp_path: Path) -> None:
    out = tmp_path / "samples"
    settings = [f"sampler={sampler}", "sampler.steps_per_level=2", "num_samples=3", f"out={out}"]
    call("sample", f"ckpt={energies}", *CPU, *settings, cwd=tmp_path)
    with np.load(out / "samples.npz") as file:
        assert file["arr_0"].shape == (3, 8, 8, 1)
        assert file["arr_0"].std() > 0


def test_leaves_what_a_score_network_leaves(energies: Path) -> None:
    assert np.isfinite(losses(energies)).all()
    assert len(losses(energies)) == 4 + 2
    assert [p.name for p in (energies / "pictures").iterdir()] == ["step_0000004.png"]
    assert set(last(energies)["state_dict"]) == set(last(energies)["current_model_state"])


def test_what_is_loaded_has_an_energy(energies: Path) -> None:
    score = load_score(energies)
    x = torch.rand(2, *score.image_shape)
    assert score.energy(x, score.sigmas[:2]).shape == (2,)
    *_, state = MetropolisLangevin(1)(score, x, score.sigmas)
    assert state.x.isfinite().all()


def test_a_finished_run_goes_on(
    energies: Path, call: Command, tiny_ncsn: list[str], only_run: Command, tmp_path: Path
) -> None:
    call("train", *tiny_ncsn, *ENERGY, "trainer.max_steps=2", cwd=tmp_path)
    call("train", f"resume={only_run(tmp_path)}", "trainer.max_steps=4", cwd=tmp_path)
    for key in ("state_dict", "current_model_state", "optimizer_states"):
        torch.testing.assert_close(last(only_run(tmp_path))[key], last(energies)[key], rtol=0, atol=0)


def test_two_processes_train_what_one_does(
    energies: Path, call: Command, tiny_ncsn: list[str], only_run: Command, tmp_path: Path
) -> None:
    two = ["trainer.devices=2", "trainer.strategy=ddp_fork"]  # which starts no interpreter anew
    call("train", *tiny_ncsn, *ENERGY, "trainer.max_steps=4", *two, cwd=tmp_path)
    np.testing.assert_allclose(losses(only_run(tmp_path)), losses(energies), rtol=1e-3)  # sums in another order


@pytest.mark.parametrize("change", ["objective=ssm_vr", "objective=dsm_cv", "trainer.precision=bf16-mixed"])
def test_trains_by_other_objectives_and_precisions(
    change: str, call: Command, tiny_ncsn: list[str], only_run: Command, tmp_path: Path
) -> None:
    call("train", *tiny_ncsn, *ENERGY, "trainer.max_steps=2", change, cwd=tmp_path)
    assert np.isfinite(losses(only_run(tmp_path))).all()


@pytest.mark.parametrize("sampler", ["mala", "hmc"])
def test_a_score_without_energy_is_told_in_one_line(
    sampler: str, trained: Path, call: Command, tiny_ncsn: list[str], tmp_path: Path
) -> None:
    runs = [
        call("sample", f"ckpt={trained}", f"sampler={sampler}", *CPU, cwd=tmp_path, check=False),
        call("train", *tiny_ncsn, f"sampler={sampler}", "name=refused", cwd=tmp_path, check=False),
    ]
    for outcome in runs:
        assert outcome.status == 2
        (line,) = (line for line in outcome.err.splitlines() if "error: " in line)
        assert re.search(
            r"error: sampler: \w+ accepts or rejects by the energy, and (NCSN|UNet) has none.*model=energy", line
        )
        assert "Traceback" not in outcome.err
    assert not list(tmp_path.glob("runs/refused/*/checkpoints"))
    assert not (trained / "samples").exists()
