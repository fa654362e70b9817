"""Files that are there whole or not at all, locks, and digests of what is in them."""

import hashlib
import json
import logging
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ncsn.errors import DataError, shown

log = logging.getLogger(__name__)


@contextmanager
def atomically(path: Path) -> Iterator[Path]:
    """Gives a path to write to; what is written replaces `path` at the end; a failure leaves it as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replaces the text of a file such that a reader sees the old one or the new one, never half of it."""
    with atomically(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_json(path: Path, way_out: str = "move it away") -> Any:
    """What a JSON file says.

    Args:
        way_out: ends the error.

    Raises:
        DataError: it cannot be read.
    """
    return _read(path, json.loads, way_out)


def read_yaml(path: Path, way_out: str = "move it away") -> Any:
    """What a YAML file says, plain values; otherwise as `read_json`."""
    import yaml

    return _read(path, yaml.safe_load, way_out)


def read_record(path: Path) -> dict[str, Any] | None:
    """A dictionary that was written here as JSON, or None if it is missing or damaged."""
    try:
        record = read_json(path)
    except DataError:
        return None
    return record if isinstance(record, dict) else None


def _read(path: Path, parse: Callable[[str], Any], way_out: str) -> Any:
    try:
        return parse(path.read_text("utf-8"))
    except Exception as error:  # parsers fail in many ways: at text that is no number, at depth, at tags
        reason = shown(" ".join(str(error).split()) or type(error).__name__, 200)
        raise DataError(f"{path}: damaged ({reason}); {way_out}") from error


def link(path: Path, target: str) -> None:
    """Makes `path` a symbolic link to its neighbour `target`, or a hard link where there are no symbolic ones."""
    with atomically(path) as partial:
        try:
            partial.symlink_to(target)
        except (OSError, NotImplementedError):  # Windows wants a privilege for it
            os.link(path.with_name(target), partial)


@contextmanager
def one_process_at_a_time(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Holds a lock beside `path`, and tells whether it is held.

    Where no lock can be made, say on a read-only disk, it counts as held.

    Args:
        path: what several processes might write at the same time.
        wait: until the others are done; otherwise the lock is not held if somebody else holds it.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    held = True
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            held = wait
            if wait:
                log.info(f"{path}: waiting for another process that is at work there")
                lock.acquire()
    except (OSError, NotImplementedError):
        log.debug(f"{path}: no lock can be made here")
    try:
        yield held
    finally:
        lock.release()


def digest(value: Any) -> str:
    """Eight letters for plain values, the same whatever the order of their keys; a part of a folder's name."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
