"""Decoded images on disk: written once, complete or absent, memory-mapped ever after.

A cache is a folder with

    images.npy   uint8 (N, C, H, W)
    labels.npy   int64 (N,), if the set has labels
    meta.json    what it was made from; a cache whose meta.json is not the expected one is stale

and, once it has been computed, distance.json: the largest distance between two of the images (`training/levels.py`).

It is written under a temporary name and renamed when it is complete, so that a killed process leaves nothing
that looks like a cache. Of several processes that need the same cache, one builds it while the others wait.
"""

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ncsn.data.decoding import DecodedFiles
from ncsn.errors import DataError, shown
from ncsn.files import is_there, is_whole, one_process_at_a_time, read_json, seal

log = logging.getLogger(__name__)

FORMAT = 1  # raise it when what is written below changes

_IMAGES_PER_TASK = 64
_WAY_OUT = "delete its folder, and it will be made again"
_ABANDONED_AFTER = 24 * 3600  # seconds
_found_whole: dict[tuple[str, int, int, int], bool] = {}


def fingerprint(files: Iterable[Path], root: Path) -> str:
    """A digest of the names (relative to `root`), sizes and modification times of files.

    Raises:
        DataError: a file is missing, e.g. a link that leads nowhere.
    """
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        try:
            status = file.stat()
        except OSError as error:
            raise DataError(f"{file}: cannot be read ({error.strerror}); replace or remove it") from error
        is_there(file)
        digest.update(repr((relative(file, root), status.st_size, status.st_mtime_ns)).encode())
    return digest.hexdigest()


def relative(path: str | Path, start: str | Path) -> str:
    """The way from one folder to a file or another folder; on Windows, the absolute path if that is another drive."""
    try:
        return os.path.relpath(path, start)
    except ValueError:
        return os.path.abspath(path)


def is_current(folder: Path, meta: dict[str, Any]) -> bool:
    """Whether there is a cache, it was made from what `meta` says, and no bit of it has changed."""
    try:
        return read_json(folder / "meta.json") == meta and _is_whole(folder)
    except DataError:
        return False


def load_meta(folder: Path) -> dict[str, Any]:
    """What a cache was made from.

    Raises:
        DataError: there is no cache, or it is damaged.
    """
    path = folder / "meta.json"
    if not path.exists():
        raise _not_there(path)
    meta: dict[str, Any] = read_json(path, _WAY_OUT)
    return meta


def build(
    folder: Path,
    meta: dict[str, Any],
    read: Callable[[], tuple[np.ndarray | DecodedFiles, np.ndarray | None]],
    shape: tuple[int, int, int],
    num_classes: int | None = None,
) -> None:
    """Write a cache unless it is current, in place of a stale one if there is one.

    Args:
        folder: where; parent folders are created.
        meta: what `is_current` will compare.
        read: gives N images, each uint8 of the given shape, and N integer labels or None. It is called in one process
            at a time. The images are asked for one by one, from several threads.
        shape: (C, H, W).
        num_classes: K; labels are from 0 to K − 1.

    Raises:
        DataError: the folder cannot be written, labels are out of range, or whatever reading raises; nothing is left
            behind.
    """
    try:
        with published(folder, meta) as temporary:
            if temporary is None:
                return
            images, labels = read()
            _write_images(temporary / "images.npy", images, shape)
            if labels is not None:
                labels = np.asarray(labels, dtype=np.int64)
                try:
                    _check_labels(labels, len(images), num_classes)
                except ValueError as error:
                    raise DataError(f"{folder.name}: {error}; get the files of the data set again") from error
                np.save(temporary / "labels.npy", labels)
    except OSError as error:
        raise DataError(
            f"{folder.parent}: cannot keep decoded images here ({error.strerror or error}); "
            "set data.cache_dir to a folder that can be written"
        ) from error


@contextlib.contextmanager
def published(folder: Path, meta: dict[str, Any]) -> Iterator[Path | None]:
    """Gives a folder to write to, which becomes `folder` at the end, with `meta`; a failure leaves nothing behind.

    Other processes wait meanwhile, and are then given None: `folder` is current.
    """
    with one_process_at_a_time(folder) as held:
        if is_current(folder, meta):
            yield None
            return
        temporary = _temporary(folder)
        try:
            temporary.mkdir(parents=True)
            _remove_abandoned(folder, temporary, held)
            yield temporary
            for array in temporary.glob("*.npy"):
                seal(array)
            (temporary / "meta.json").write_text(json.dumps(meta, indent=2))
            _publish(temporary, folder, meta)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def load_images(folder: Path, shape: tuple[int, int, int]) -> Tensor:
    """The images of a cache, uint8 (N, C, H, W), memory-mapped; changes to the tensor stay in memory.

    Args:
        shape: (C, H, W).

    Raises:
        DataError: there is no cache, or it is damaged.
    """
    return torch.from_numpy(_load(folder / "images.npy", np.uint8, (-1, *shape), mmap_mode="c"))


def load_labels(folder: Path, count: int, num_classes: int | None = None) -> Tensor | None:
    """The labels of a cache, int64 (N,), None if the set has none.

    Args:
        count: N.
        num_classes: K; labels are from 0 to K − 1.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / "labels.npy"
    if not path.exists():
        return None
    labels = _load(path, np.int64, (count,))
    try:
        _check_labels(labels, count, num_classes)
    except ValueError as error:
        raise _damaged(path, error) from error
    return torch.from_numpy(labels)


def _check_labels(labels: np.ndarray, count: int, num_classes: int | None) -> None:
    if labels.shape != (count,):
        raise ValueError(f"labels of shape {labels.shape} for {count} images")
    if num_classes is not None and count and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(f"labels from {labels.min()} to {labels.max()} for {num_classes} classes")


def _load(path: Path, dtype: type, shape: tuple[int, ...], mmap_mode: Literal["c"] | None = None) -> np.ndarray:
    try:
        is_there(path)
        array = np.lib.format.open_memmap(path, mode=mmap_mode or "r")
        if array.dtype != dtype or array.ndim != len(shape) or array.shape[1:] != shape[1:]:
            raise ValueError(f"it holds {array.dtype} of shape {array.shape}")
        return array if mmap_mode else np.array(array)
    except FileNotFoundError as error:
        raise _not_there(path) from error
    except Exception as error:  # headers that are damaged fail in many ways
        raise _damaged(path, error) from error


def _not_there(path: Path) -> DataError:
    return DataError(f"{path}: missing; call prepare_data() first")


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: damaged ({shown(error)}); {_WAY_OUT}")


def _write_images(path: Path, images: np.ndarray | DecodedFiles, shape: tuple[int, int, int]) -> None:
    """Decode in several threads straight into the file, so that memory does not grow with N."""
    total = len(images)
    # Running out of space in a memory map is a bus error, not an exception: look first.
    if shutil.disk_usage(path.parent).free < total * np.prod(shape, dtype=np.int64):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(total, *shape))

    def write(start: int) -> int:
        stop = min(start + _IMAGES_PER_TASK, total)
        for i in range(start, stop):
            out[i] = images[i]
        return stop - start

    with (
        ThreadPoolExecutor() as pool,
        tqdm(total=total, desc=path.parent.name.split(".")[0], unit="image", delay=2) as bar,
    ):
        for written in pool.map(write, range(0, total, _IMAGES_PER_TASK)):
            bar.update(written)
    out.flush()


def _is_whole(folder: Path) -> bool:
    """Whether the arrays of a cache are as they were written; looked at once per process."""
    for path in folder.glob("*.np[yz]"):
        status = path.stat()
        version = (str(path), status.st_ino, status.st_size, status.st_mtime_ns)
        if version not in _found_whole:
            _found_whole[version] = is_whole(path)
            if not _found_whole[version]:
                log.warning(f"{path}: damaged, its checksum is of other content; it is made anew")
        if not _found_whole[version]:
            return False
    return True


def _publish(temporary: Path, folder: Path, meta: dict[str, Any]) -> None:
    """Give a finished cache its name, unless another process was first, where no lock can be made."""
    if is_current(folder, meta):
        return
    if folder.exists():
        stale = _temporary(folder)
        folder.rename(stale)
        shutil.rmtree(stale, ignore_errors=True)
    temporary.rename(folder)


def _temporary(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}.tmp")


def _remove_abandoned(folder: Path, own: Path, held: bool | None) -> None:
    """Remove what killed processes left: all but ours, or where no lock can be made, what nobody can still write."""
    for path in folder.parent.glob(f"{folder.name}.*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            if path != own and (held or time.time() - path.stat().st_mtime > _ABANDONED_AFTER):
                shutil.rmtree(path, ignore_errors=True)
