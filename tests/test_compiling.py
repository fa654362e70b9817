"""What compiling tells, and where what comes of it is kept."""

import logging
import os
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from ncsn import compiling
from ncsn.commands.cli import keep_compiled
from ncsn.errors import ConfigError
from ncsn.networks import EnergyNCSN
from ncsn.noise import geometric

COMPILE = nn.Module.compile


@pytest.fixture(autouse=True)
def _to_operations_of_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which takes no time."""
    monkeypatch.setattr(nn.Module, "compile", lambda self, options, **more: COMPILE(self, backend="eager", **more))


def test_what_is_compiled_is_kept_in_a_folder_of_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "of the user")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    keep_compiled()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "of the user"
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "missing"))
    keep_compiled()
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    keep_compiled()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "ncsn" / "compiled")


def test_it_tells_how_long_it_took(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    network = nn.Conv2d(1, 1, 1)
    compiling.compile_network(network)
    ticks = iter(range(0, 10_000, 83))
    monkeypatch.setattr(compiling, "monotonic", partial(next, ticks))
    caplog.set_level(logging.INFO, "ncsn.compiling")
    for _ in range(2):  # the second time there is nothing to compile
        network(torch.zeros(1, 1, 2, 2))
    told = [record.getMessage() for record in caplog.records if record.name == "ncsn.compiling"]
    assert told == ["compiled in 83 s"]


def test_what_cannot_be_compiled_is_refused() -> None:
    with pytest.raises(ConfigError, match="compile=true: the score of an energy"):
        compiling.compile_network(EnergyNCSN(geometric(num_levels=2), image_size=8, in_channels=1, num_filters=2))
