"""The commands, as a user types them and without starting a process, on networks and runs that take seconds."""

import contextlib
import io
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side; before torch reads it

import pytest
import tiny_runs
import torch
from filelock import FileLock
from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from ncsn.commands import cli

ROOT = Path(__file__).parents[1]


class Outcome(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First what others wait for, then what takes longest, so that two processes end at about the same time."""
    first = {"test_classifier.py": 0, "cli": 1, "training": 1}
    items.sort(key=lambda item: min(first.get(item.path.name, 2), first.get(item.path.parent.name, 2)))


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> Iterator[None]:
    """SIGINT interrupts, also where a shell that runs the tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def _parsed_once() -> Iterator[None]:
    """Hydra parses all files and all overrides anew for every command, a fifth of composing; here each text once."""
    load, parse_rule = OmegaConf.load, OverridesParser.parse_rule

    @cache
    def file_of(text: str) -> Any:
        return load(io.StringIO(text))

    @cache
    def rule_of(text: str, rule: str) -> Any:
        return parse_rule(OverridesParser.create(), text, rule)

    def load_once(file: Any) -> Any:
        return deepcopy(file_of(file.read() if hasattr(file, "read") else Path(file).read_text("utf-8")))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OmegaConf, "load", load_once)
        patch.setattr(OverridesParser, "parse_rule", lambda _, text, rule: deepcopy(rule_of(text, rule)))
        yield


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the project."""
    return ROOT


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """once("name", make): a folder that make(folder) has filled, one for all processes of a test run."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = base / f"once-{name}", base / f"once-{name}.done"
        with FileLock(base / f"once-{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return once


@pytest.fixture(scope="session")
def real_data(once: Callable[..., Path]) -> Path:
    """A folder with MNIST/raw/*.gz, cifar-10-batches-py/* and celeba/img_align_celeba/*.jpg."""
    if "NCSN_DATA" in os.environ:
        return Path(os.environ["NCSN_DATA"])
    unpack = ROOT.parent / "shared" / "data" / "unpack"
    if not unpack.exists():
        pytest.skip("real data sets not at hand: set NCSN_DATA")
    return once("real-data", lambda folder: subprocess.run([unpack, folder], check=True))


@pytest.fixture(scope="session")
def data_root(once: Callable[..., Path]) -> Path:
    """Where the tiny runs share the decoded data."""
    return once("tiny-data", lambda folder: None)


@pytest.fixture(scope="session")
def tiny_ncsn(data_root: Path) -> list[str]:
    return tiny_runs.tiny_ncsn(data_root)


@pytest.fixture(scope="session")
def tiny(data_root: Path) -> list[str]:
    return tiny_runs.tiny_unet(data_root)


@pytest.fixture(scope="session")
def trained(call: Callable[..., Outcome], tiny: list[str], only_run: Callable[[Path], Path], once: Any) -> Path:
    """The folder of a tiny run with checkpoints of steps 2, 4 and 6, none of them any good; not to be changed."""
    return only_run(once("trained", lambda cwd: call("train", *tiny, cwd=cwd)))


@pytest.fixture(scope="session")
def run() -> Callable[..., Outcome]:
    """run("train", *arguments, cwd=…): a command in a process of its own, to its end."""

    def run(
        script: str, *arguments: str, cwd: Path, launcher: list[str] | None = None, check: bool = True
    ) -> Outcome:
        command = [*(launcher or [sys.executable]), str(ROOT / f"{script}.py"), *arguments]
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PL_", "HYDRA_", "PYTEST_"))}
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )
        try:
            out, err = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with the processes that it started
            out, err = process.communicate()
        assert not check or process.returncode == 0, f"status {process.returncode}\n{out}\n{err}"
        return Outcome(process.returncode, out, err)

    return run


@pytest.fixture(scope="session")
def call() -> Callable[..., Outcome]:
    """call("train", *arguments, cwd=…): the same within this process, which saves the seconds of the imports."""

    def call(script: str, *arguments: str, cwd: Path, check: bool = True) -> Outcome:
        out, err, status = io.StringIO(), io.StringIO(), 0
        with _as_if_alone(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            os.environ["HYDRA_FULL_ERROR"] = "0"
            os.chdir(cwd)
            try:
                cli.main([script, *arguments])
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 1
        assert not check or status == 0, f"status {status}\n{out.getvalue()}\n{err.getvalue()}"
        return Outcome(status, out.getvalue(), err.getvalue())

    return call


@contextlib.contextmanager
def _as_if_alone() -> Iterator[None]:
    """Puts back what a command changes in its process."""
    environment, folder, arguments = dict(os.environ), Path.cwd(), sys.argv
    handlers, level = list(logging.root.handlers), logging.root.level
    threads = torch.get_num_threads()
    HydraConfig.instance().cfg = None
    try:
        with pytest.MonkeyPatch.context() as patch:
            # Hydra composes all once more to see whether a file sets `hydra.mode`; here none does.
            patch.setattr(Hydra, "get_mode", lambda *_, **__: None)
            yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        sys.argv = arguments
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
        torch.set_num_threads(threads)
        HydraConfig.instance().cfg = None


@pytest.fixture(scope="session")
def only_run() -> Callable[[Path], Path]:
    """only_run(cwd): the one run folder below cwd/runs."""

    def only_run(cwd: Path) -> Path:
        (folder,) = (f for f in (cwd / "runs").glob("*/*") if f.is_dir())
        return folder

    return only_run
