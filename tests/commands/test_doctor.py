"""`ncsn doctor`: what it finds, and when it says that something is broken."""

import importlib.metadata
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ncsn.commands import doctor
from ncsn.commands.cli import main


@pytest.fixture
def examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, doctor.Finding]]:
    """What it finds by name, with no data, no weights in PyTorch's cache, and a folder that is empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    return lambda: {finding.name: finding for finding in doctor.examine(tmp_path / "data")}


def test_nothing_that_is_needed_is_broken_here_and_what_is_missing_has_a_way_out(
    examined: Callable[[], dict[str, doctor.Finding]], tmp_path: Path
) -> None:
    found = examined()
    assert {finding.verdict for finding in found.values()} <= {"ok", "hint"}
    assert all(finding.advice for finding in found.values() if finding.verdict == "hint")
    assert "digits; downloaded when used: cifar10, mnist; not there: celeba, ffhq256" in found["data"].text
    assert "weights-inception-2015-12-05-6726825d.pth there" in found["inception"].advice
    classifier = tmp_path / "data" / "classifiers" / "mnist-28px-1ch-v1.pt"
    faces = tmp_path / "data" / "celeba" / "img_align_celeba" / "000001.jpg"
    weights = tmp_path / "torch" / "hub" / "checkpoints" / "weights-inception-2015-12-05-6726825d.pth"
    for path in (classifier, faces, weights):
        path.parent.mkdir(parents=True)
        path.touch()
    found = examined()
    assert "data: celeba, digits; downloaded" in found["data"].text
    assert found["inception"].verdict == "ok"
    assert found["classifiers"].text.endswith("classifiers: mnist")


def test_threads_that_wait_for_each_other_are_told(
    examined: Callable[[], dict[str, doctor.Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert "OMP_WAIT_POLICY=PASSIVE" in examined()["threads"].advice
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1000)
    assert "OMP_NUM_THREADS=" in examined()["threads"].advice


def test_a_gpu_that_pytorch_does_not_reach_is_told(
    examined: Callable[[], dict[str, doctor.Finding]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    (tmp_path / "nvidia-smi").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = examined()
    assert "this PyTorch does not reach it" in found["gpu"].advice
    assert "leave out speed=fast" in found["compiler"].advice


def test_what_is_broken_gives_status_1_and_does_not_hide_the_rest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    here = importlib.metadata.requires("ncsn") or []
    asked = ["hydra-core>=99", "no-such-package", "nothing-either; extra == 'hub'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: [*here, *asked])
    monkeypatch.setattr(torch, "get_num_threads", lambda: torch.no_such_function)  # fails in a way of its own
    with pytest.raises(SystemExit) as end:
        main(["doctor", f"data.root={tmp_path}"])
    assert end.value.code == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "not >=99, no-such-package is missing → pip install . in a checkout" in out
    assert "✗ threads" in out
    assert 'not installed: hub → pip install ".[hub]"' in out
    assert out.endswith("broken: packages, threads")


def test_a_disk_that_is_nearly_full_is_told(
    examined: Callable[[], dict[str, doctor.Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = doctor.shutil.disk_usage(".")._replace(free=2**20)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    assert "make room" in examined()["disk"].advice


@pytest.mark.parametrize("given", ["root=/data", "data.root="])
def test_its_argument_is_a_folder_of_data(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["doctor", given])
    assert capsys.readouterr().err == f"error: {given}: must be data.root=<folder>\n"
