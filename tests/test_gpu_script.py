"""What `make gpu` runs: where there is no GPU it says so, and a comparison that fails is seen."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_it_refuses_in_one_line_without_a_gpu(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "gpu.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert done.stderr == "error: no GPU is here that PyTorch reaches; --device cpu tries the script without one\n"
    assert list(tmp_path.iterdir()) == []


def test_a_difference_beyond_what_is_allowed_is_seen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu

    parts = [("same", 0.0, 1e-4), ("other", 1e-3, 1e-4), ("no number", float("nan"), 1e-4)]
    for name in ("of_networks", "of_samplers", "of_training"):
        monkeypatch.setattr(gpu, name, lambda device: iter(parts))
    found = gpu.correctness(torch.device("cpu"), deadline=0)  # over after the first
    assert [row["good"] for row in found] == [True]
    found = gpu.correctness(torch.device("cpu"), deadline=float("inf"))
    assert [row["good"] for row in found] == 3 * [True, False, False]
    assert capsys.readouterr().out.count("BAD") == 6
    assert gpu.relative(torch.tensor([3.0, 4.5]), torch.tensor([3.0, 4.0])) == pytest.approx(0.1)
