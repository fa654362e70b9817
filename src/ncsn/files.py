"""Files that are there whole or not at all, and digests of what is in them."""

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

log = logging.getLogger(__name__)


@contextmanager
def atomically(path: Path) -> Iterator[Path]:
    """Gives a path to write to; what is written replaces `path` at the end; a failure leaves it as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replaces the text of a file such that a reader sees the old one or the new one, never half of it."""
    with atomically(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def one_process_at_a_time(path: Path) -> Iterator[None]:
    """What several processes would make of `path`, one makes while the others wait, by a lock beside it.

    Where no lock can be made, each goes on for itself.
    """
    with ExitStack() as held:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(path.with_name(f".{path.name}.lock")))
        except (OSError, NotImplementedError):
            log.debug(f"{path}: no lock can be made here")
        yield


def digest(value: Any) -> str:
    """Eight letters for plain values, the same whatever the order of their keys; a part of a folder's name."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
