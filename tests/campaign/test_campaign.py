"""A short slice of the campaign, the same attacks at every run of the tests; `make campaign` makes more of them."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

KINDS = ["kills: sampling", "two at once: training", "overrides: train", "damage: checkpoint"]


def test_a_slice_of_the_campaign_finds_nothing() -> None:
    slice = ["--seed", "7", "--count", "1", "--minutes", "10", "--only", ",".join(KINDS)]
    ended = subprocess.run([sys.executable, str(Path(__file__).parent), *slice], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in ended.stdout.splitlines() if line[:1] == "|"]
    assert rows[2 : 3 + len(KINDS)] == [*([kind, "1"] for kind in KINDS), ["all", str(len(KINDS))]]
