"""A run's folder with everything in it."""

import shutil
from pathlib import Path

import pytest
from fake_run import make_run
from reading import Page, report_of


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything; to be looked at, not changed."""
    return make_run(tmp_path_factory.mktemp("report") / "cifar10" / "2026-11-22_00-59-34")


@pytest.fixture(scope="session")
def page(whole: Path) -> Page:
    return report_of(whole)


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return shutil.copytree(whole, tmp_path / "runs" / "a_run", ignore=shutil.ignore_patterns("report.html"))
