"""Files that are there whole or not at all, locks, and digests and checksums of what is in them.

A file is written beside its place, synced, and renamed. Whether its bits are still those, `is_whole`
tells from a checksum in the file: zip archives, and so what torch.save and np.savez write, have one for each entry;
`seal` puts one behind the end of others, where np.load does not look.
"""

import errno
import filecmp
import hashlib
import json
import logging
import mmap
import os
import shutil
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from ncsn.errors import DataError, shown

log = logging.getLogger(__name__)


_SEAL = b"\0crc32 of what is before: "
_CHUNK = 2**24


@contextmanager
def atomically(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Gives a path to write to; what is written replaces `path` at the end; a failure leaves it as it was.

    Args:
        durable: it outlives a power failure as well, which takes some milliseconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.partial")
    try:
        yield partial
        if durable:
            _sync(partial)
        partial.replace(path)
        if durable:
            with suppress(OSError):  # not every system can sync a folder
                _sync(path.parent)
    except OSError as error:  # NumPy's and Pillow's say neither which file nor why
        error.errno, error.strerror = error.errno or errno.EIO, error.strerror or str(error)
        error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replaces the text of a file such that a reader sees the old one or the new one, never half of it.

    One that says this already is left alone, so that it may be on a read-only disk.
    """
    content = text.encode()
    if not path.is_file() or path.read_bytes() != content:
        with atomically(path) as partial:
            partial.write_bytes(content)


def copy(source: Path, path: Path) -> None:
    """Makes `path` a copy of a file, unless it is one."""
    if not path.is_file() or not filecmp.cmp(source, path, shallow=False):
        with atomically(path) as partial:
            shutil.copyfile(source, partial)


def check_folder(folder: Path) -> None:
    """Looks that what is written into a folder stays there, and that nothing in it is waited for.

    Raises:
        DataError: something in it is a link that leads out of it, or neither a file nor a folder.
    """
    whole = os.path.join(os.path.realpath(folder), "")
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = os.path.join(parent, name)
            if os.path.islink(path) and not os.path.realpath(path).startswith(whole):
                raise DataError(f"{path}: is a link that leads out of {folder}; put what it leads to in its place")
            if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
                raise DataError(f"{path}: is neither a file nor a folder; remove it")


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


def is_there(path: Path) -> bool:
    """Whether a file or a folder is there; what can be no path is not.

    Raises:
        DataError: something else is, a pipe or a device, which may have no end.
    """
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise DataError(f"{path}: neither a file nor a folder, but a pipe or a device; give a file")
    return os.path.exists(path)


def _read(path: Path, parse: Callable[[str], Any], way_out: str) -> Any:
    is_there(path)
    try:
        return parse(path.read_text("utf-8"))
    except Exception as error:  # parsers fail in many ways: at text that is no number, at depth, at tags
        reason = shown(" ".join(str(error).split()) or type(error).__name__, 200)
        raise DataError(f"{path}: damaged ({reason}); {way_out}") from error


def link(path: Path, target: str) -> None:
    """Makes `path` a symbolic link to its neighbour `target`, or a hard link where there are no symbolic ones."""
    if path.is_symlink() and os.readlink(path) == target:
        return
    with atomically(path, durable=False) as partial:
        try:
            partial.symlink_to(target)
        except (OSError, NotImplementedError):  # Windows wants a privilege for it
            os.link(path.with_name(target), partial)


@contextmanager
def one_process_at_a_time(path: Path, *written: Path, wait: bool = True) -> Iterator[bool | None]:
    """Holds a lock beside `path`, and tells whether it is held; None where none can be made, say on a read-only disk.

    Args:
        path: what several processes might write at the same time.
        written: files, or `folder / "*"`, that its holder alone writes; what killed processes left is removed.
        wait: until the others are done; otherwise the lock is not held if somebody else holds it.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    held: bool | None = True
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
        held = None
        log.debug(f"{path}: no lock can be made here")
    try:
        for file in written if held else ():
            for partial in file.parent.glob(f".{file.name}.*.partial"):
                partial.unlink(missing_ok=True)
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


def save_tensors(content: Any, path: Path) -> None:
    """`torch.save`, of a file that is there whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    import torch

    with atomically(path) as partial, partial.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # of PyTorch's writer, which does not say that the disk is full
            cause = error.__context__
            raise (cause if isinstance(cause, OSError) else error) from None


def seal(path: Path) -> None:
    """Puts a checksum behind the end of a file, for `is_whole`."""
    with path.open("r+b") as file:
        checksum = _checksum(file, path.stat().st_size)
        file.seek(0, os.SEEK_END)
        file.write(_SEAL + checksum)


def is_whole(path: Path) -> bool:
    """Whether a file is there with the bits that were written: its checksum, if it has one, is not of others."""
    if not path.is_file():
        return False
    size = path.stat().st_size - len(_SEAL) - 4
    with path.open("rb") as file:
        if file.read(4) == b"PK\3\4" or path.suffix == ".npz":
            return _is_whole_archive(path)
        file.seek(max(size, 0))
        end = file.read()
        if size >= 0 and end.startswith(_SEAL):
            return end[len(_SEAL) :] == _checksum(file, size)
    return path.suffix != ".npy" or _is_array(path)


def _is_array(path: Path) -> bool:
    """Whether an array without a seal is as long as its header says."""
    import numpy as np

    try:
        np.load(path, mmap_mode="r")
    except Exception:  # headers that are damaged fail in many ways
        return False
    return True


def _is_whole_archive(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
            return stored and archive.testzip() is None
    except Exception:  # headers that are damaged fail in many ways
        return False


def _checksum(file: IO[bytes], size: int) -> bytes:
    """CRC-32 of the CRC-32 of every 16 MiB, so that threads share the work."""
    with (
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        memoryview(content) as view,
        ThreadPoolExecutor() as pool,
    ):
        parts = pool.map(lambda start: zlib.crc32(view[start : min(start + _CHUNK, size)]), range(0, size, _CHUNK))
        return zlib.crc32(b"".join(part.to_bytes(4, "big") for part in parts)).to_bytes(4, "big")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)  # Windows syncs what it may write
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
