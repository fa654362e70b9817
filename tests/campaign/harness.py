"""Commands in forked processes that are killed, starved and watched, and what is to be said of how they end.

A fork has PyTorch and the commands imported already, so that a whole command takes half a second.
"""

import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch
from hydra._internal.hydra import Hydra

from ncsn.commands import cli
from ncsn.errors import UserError

Command = list[str] | Callable[[], object]

MOST_SECONDS, GRACE = 90.0, 20.0
MOST_BYTES = 6 << 30  # of memory; what asks for more is to be refused and not to take the machine down
CANARY = "canary"  # the module that files name, and the folder that they ask to be made
HARMLESS = {"git", "uname"}  # processes that say what machine and what revision a run is of

OK, REFUSED = "ok", "refused"
TRACEBACK, HANG, CRASH = "tracebacks", "hangs", "crashes"
DIFFERENT, EXECUTED, MISMATCH = "silent differences", "executions", "mismatches"
BAD = (TRACEBACK, HANG, CRASH, DIFFERENT, EXECUTED, MISMATCH)

_TELLS = ("error: ", "interrupted by ")


class Verdict(NamedTuple):
    """What came of an attack: one of the words above, and what was seen."""

    word: str
    seen: str = ""


class Outcome(NamedTuple):
    """How a process ended: with a status, or −n by signal n; `hung` if it had to be killed."""

    status: int
    out: str
    err: str
    hung: bool
    forbidden: list[str]

    @property
    def verdict(self) -> Verdict:
        """Success, one line, or what is never to be."""
        last = (self.err.strip().splitlines() or ["nothing on stderr"])[-1]
        interrupted = self.status in (128 + signal.SIGTERM, 128 + signal.SIGINT)
        if self.forbidden:
            return Verdict(EXECUTED, "; ".join(self.forbidden[:3]))
        if self.hung:
            return Verdict(HANG, last)
        if self.status < 0:
            return Verdict(CRASH, f"{signal.Signals(-self.status).name}: {last}")
        if "Traceback" in self.err:
            return Verdict(TRACEBACK, last)
        if self.status == 2 or interrupted:
            told = [line for line in self.err.splitlines() if line.startswith(_TELLS)]
            return Verdict(REFUSED, last) if told == [last] else Verdict(TRACEBACK, f"not one line: {told or last}")
        return Verdict(OK) if self.status == 0 else Verdict(TRACEBACK, f"status {self.status}: {last}")


class Trial(NamedTuple):
    """One attack: a folder of its own, and random numbers that its name determines."""

    folder: Path
    random: Random
    bench: Any


@dataclass
class Child:
    """A forked process that runs a command in a folder.

    Args:
        command: arguments of `ncsn`, or a function.
        folder: the working folder; nothing may be written outside of it.
        before: called in the process first, for limits and changed clocks.
    """

    command: Command
    folder: Path
    before: Callable[[], object] | None = None
    pid: int = field(init=False)
    records: Path = field(init=False)

    def __post_init__(self) -> None:
        self.records = self.folder.parent / f"{self.folder.name}.{time.monotonic_ns()}"
        self.records.mkdir()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self.pid = os.fork()
        if not self.pid:
            self._run()

    def _run(self) -> None:
        """In the fork; never returns."""
        status = 1
        try:
            os.setsid()
            os.chdir(self.folder)
            for number, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(self.records / name, os.O_WRONLY | os.O_CREAT), number)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            tempfile.tempdir = os.environ["TMPDIR"] = str(self.folder)
            os.environ["HOME"] = str(self.folder)
            os.environ["HF_HUB_OFFLINE"] = "1"  # a random name might be a repository there
            signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell ignores in the background
            resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
            _watch(self.folder, os.open(self.records / "forbidden", os.O_WRONLY | os.O_CREAT | os.O_APPEND))
            # Hydra composes all once more to see whether a file sets `hydra.mode`, which is half of a command's time.
            Hydra.get_mode = lambda *_, **__: None
            if self.before is not None:
                self.before()
            cli.main(self.command) if isinstance(self.command, list) else self.command()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except UserError as error:  # of a function
            print(f"error: {error}", file=sys.stderr)
            status = 2
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends a signal to it, and SIGKILL to what it has started as well."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number) if number == signal.SIGKILL else os.kill(self.pid, number)

    def ended(self, seconds: float) -> int | None:
        """Its status, once it has ended within so many seconds."""
        end = time.monotonic() + seconds
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > end:
                return None
            time.sleep(0.005)

    def outcome(self, seconds: float = MOST_SECONDS, *, long_is_fine: bool = False) -> Outcome:
        """How it ended.

        Args:
            seconds: after which it hangs.
            long_is_fine: it may be at work for longer, as long as SIGTERM ends it.
        """
        status, hung = self.ended(seconds), False
        if status is None and long_is_fine:
            self.kill(signal.SIGTERM)
            status = self.ended(GRACE)
        if status is None:
            self.kill()
            hung, (_, waited) = True, os.waitpid(self.pid, 0)
            status = os.waitstatus_to_exitcode(waited)
        out, err, forbidden = (
            (self.records / name).read_text(errors="replace") if (self.records / name).exists() else ""
            for name in ("out", "err", "forbidden")
        )
        return Outcome(status, out, err, hung, forbidden.splitlines())


def run(command: Command, folder: Path, before: Callable[[], object] | None = None, **options: Any) -> Outcome:
    """A command in a forked process, to its end."""
    return Child(command, folder, before).outcome(**options)


def _watch(folder: Path, record: int) -> None:
    """Records what no command does by itself: other processes, connections, files elsewhere, the canary."""
    inside = (os.path.realpath(folder), os.devnull)

    def forbidden(event: str, arguments: tuple[Any, ...]) -> str | None:
        if event == "open":
            path, mode, flags = arguments
            writes = (
                (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) if mode is None else set(mode) & set("wax+")
            )
            if writes and not isinstance(path, int) and not os.path.realpath(path).startswith(inside):
                return f"writes {os.fsdecode(path)}"
        elif event == "os.mkdir" and CANARY in str(arguments[0]):
            return f"{event} {arguments[0]}"
        elif event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"):
            name = arguments[1][0] if event == "subprocess.Popen" else arguments[0]
            if os.path.basename(os.fsdecode(name)) not in HARMLESS:
                return f"{event} {name}"
        elif event in ("socket.connect", "socket.getaddrinfo", "socket.bind"):
            return f"{event} {arguments[-1]}"
        return None

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _WATCHED:
            seen = forbidden(event, arguments)
            if seen is not None:
                os.write(record, f"{' '.join(seen.split())}\n".encode())

    sys.addaudithook(hook)
    sys.meta_path.insert(0, _Finder(record))


class _Finder:
    """Records imports of the canary; not every way of importing is an event."""

    def __init__(self, record: int) -> None:
        self.record = record

    def find_spec(self, name: str, *_: Any) -> None:
        if CANARY in name:
            os.write(self.record, f"import {name}\n".encode())


_WATCHED = {
    *("open", "os.mkdir", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"),
    *("socket.connect", "socket.getaddrinfo", "socket.bind"),
}


def is_same(one: Any, other: Any) -> bool:
    """Whether two results, nested, with tensors in them, are equal bit for bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(is_same(*pair) for pair in zip(one, other, strict=True))
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return type(one) is type(other) and one == other
