import contextlib
import os
import shutil
import threading
from functools import partial

import numpy as np
import pytest
import torch

from ncsn.data import cache
from ncsn.errors import DataError

SHAPE = (1, 2, 3)
META = {"format": 1, "files": "abc"}


def some_images(n: int = 200, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *SHAPE), dtype=np.uint8)


class Failing:
    """Images of which number `bad` cannot be read."""

    def __init__(self, bad: int) -> None:
        self.bad = bad

    def __len__(self) -> int:
        return 1000

    def __getitem__(self, i: int) -> np.ndarray:
        if i >= self.bad:
            raise DataError(f"image {i} is damaged")
        return np.zeros(SHAPE, np.uint8)


def build(folder, meta, images, labels=None):
    cache.build(folder, meta, lambda: (images, labels), SHAPE)


def visible(folder):
    """Names in a folder, apart from locks."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_what_is_built_can_be_loaded(tmp_path):
    images, labels = some_images(), np.arange(200, dtype=np.uint8)
    build(tmp_path / "a" / "set", META, images, labels)
    assert cache.is_current(tmp_path / "a" / "set", META)
    loaded = cache.load_images(tmp_path / "a" / "set", SHAPE)
    assert torch.equal(loaded, torch.from_numpy(images))
    loaded[0] = 0  # a private copy
    assert torch.equal(cache.load_images(tmp_path / "a" / "set", SHAPE), torch.from_numpy(images))
    loaded_labels = cache.load_labels(tmp_path / "a" / "set", 200)
    assert loaded_labels.dtype == torch.int64
    assert torch.equal(loaded_labels, torch.arange(200))


def test_a_set_without_labels(tmp_path):
    build(tmp_path / "set", META, some_images())
    assert cache.load_labels(tmp_path / "set", 200) is None


def test_a_stale_cache_is_replaced(tmp_path):
    build(tmp_path / "set", META, some_images(), np.zeros(200))
    new = {**META, "files": "xyz"}
    assert not cache.is_current(tmp_path / "set", new)
    mapped = cache.load_images(tmp_path / "set", SHAPE)
    build(tmp_path / "set", new, some_images(50, seed=1))
    assert cache.is_current(tmp_path / "set", new)
    assert torch.equal(cache.load_images(tmp_path / "set", SHAPE), torch.from_numpy(some_images(50, seed=1)))
    assert cache.load_labels(tmp_path / "set", 200) is None
    assert torch.equal(mapped, torch.from_numpy(some_images()))  # who reads the old one can go on
    assert visible(tmp_path) == ["set"]


def test_the_fingerprint_sees_names_sizes_and_times(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text("1")
    b.write_text("2")
    before = cache.fingerprint([a, b], tmp_path)
    assert cache.fingerprint([a, b], tmp_path) == before
    assert cache.fingerprint([b, a], tmp_path) != before
    assert cache.fingerprint([a], tmp_path) != before
    os.utime(a, (1, 1))
    assert cache.fingerprint([a, b], tmp_path) != before
    shutil.move(b, tmp_path / "c")
    with pytest.raises(DataError, match="b: cannot be read"):
        cache.fingerprint([a, b], tmp_path)


def test_the_first_damaged_image_is_named_and_nothing_is_left(tmp_path):
    with pytest.raises(DataError, match=r"^image 321 is damaged$"):
        build(tmp_path / "set", META, Failing(321))
    assert visible(tmp_path) == []


def test_a_failed_rebuild_leaves_the_old_cache(tmp_path):
    build(tmp_path / "set", META, some_images())
    with pytest.raises(DataError):
        build(tmp_path / "set", {**META, "files": "xyz"}, Failing(0))
    assert cache.is_current(tmp_path / "set", META)


@pytest.mark.parametrize("lock", [True, False])
def test_what_a_killed_process_left_is_no_cache_and_is_cleared_away(lock, tmp_path, monkeypatch):
    if not lock:  # what nobody else can be writing is what is old
        monkeypatch.setattr(cache, "one_process_at_a_time", lambda path: contextlib.nullcontext(None))
    old, young = tmp_path / "set.0123abcd.tmp", tmp_path / "set.4567abcd.tmp"
    for folder in (old, young):
        folder.mkdir()
        (folder / "images.npy").write_bytes(b"half")
    os.utime(old, (1, 1))
    assert not cache.is_current(tmp_path / "set", META)
    build(tmp_path / "set", META, some_images())
    assert visible(tmp_path) == ["set"] if lock else ["set", young.name]


@pytest.mark.parametrize("name", ["images.npy", "labels.npy"])
def test_a_cache_with_a_flipped_bit_is_made_anew(name, tmp_path, caplog):
    images, labels = some_images(), np.arange(200)
    build(tmp_path / "set", META, images, labels)
    path = tmp_path / "set" / name
    damaged = bytearray(path.read_bytes())
    damaged[700] ^= 1
    path.write_bytes(damaged)
    assert not cache.is_current(tmp_path / "set", META)
    assert f"{name}: damaged" in caplog.text
    build(tmp_path / "set", META, images, labels)
    assert torch.equal(cache.load_images(tmp_path / "set", SHAPE), torch.from_numpy(images))
    assert torch.equal(cache.load_labels(tmp_path / "set", 200), torch.from_numpy(labels))
    assert visible(tmp_path) == ["set"]


@pytest.mark.parametrize("stale", [False, True])
def test_of_several_at_the_same_time_one_builds(tmp_path, stale):
    if stale:
        build(tmp_path / "set", {"format": 0}, some_images(5))
    together = threading.Barrier(4)
    failures, reads = [], []

    def read():
        reads.append(1)
        return some_images(), None

    def one() -> None:
        together.wait()
        try:
            cache.build(tmp_path / "set", META, read, SHAPE)
            assert torch.equal(cache.load_images(tmp_path / "set", SHAPE), torch.from_numpy(some_images()))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(reads) == 1
    assert visible(tmp_path) == ["set"]


def test_paths_across_drives(monkeypatch, tmp_path):
    def no_way(path, start):
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    assert cache.relative(tmp_path / "data", tmp_path / "cache") == os.path.join("..", "data")
    monkeypatch.setattr(os.path, "relpath", no_way)
    (tmp_path / "a").write_text("1")
    assert cache.relative(tmp_path / "a", "C:/cache") == str(tmp_path / "a")
    assert cache.fingerprint([tmp_path / "a"], tmp_path)


def test_a_place_that_cannot_be_written_names_the_key(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"data\.cache_dir"):
        build(tmp_path / "file" / "set", META, some_images())


def test_a_full_disk_is_noticed_before_writing(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 99, 1))
    with pytest.raises(DataError, match=r"No space left on device.*data\.cache_dir"):
        build(tmp_path / "set", META, some_images())
    assert visible(tmp_path) == []


def test_a_cache_that_is_missing_or_damaged(tmp_path):
    for load in (lambda folder: cache.load_images(folder, SHAPE), cache.load_meta):
        with pytest.raises(DataError, match="prepare_data"):
            load(tmp_path / "set")
    build(tmp_path / "set", META, some_images())
    assert cache.load_meta(tmp_path / "set") == META
    os.truncate(tmp_path / "set" / "images.npy", 200)
    (tmp_path / "set" / "meta.json").write_text("{")
    for load in (lambda folder: cache.load_images(folder, SHAPE), cache.load_meta):
        with pytest.raises(DataError, match="damaged"):
            load(tmp_path / "set")
    np.savez(tmp_path / "archive.npz", 1)
    (tmp_path / "archive.npz").rename(tmp_path / "set" / "images.npy")
    with pytest.raises(DataError, match="damaged"):
        cache.load_images(tmp_path / "set", SHAPE)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("images", np.zeros((200, 1, 3, 3), np.uint8), r"uint8 of shape \(200, 1, 3, 3\)"),
        ("images", np.zeros((200, *SHAPE), np.int64), "int64 of shape"),
        ("images", np.array([print], object), "Python objects"),
        ("labels", np.zeros(199, np.int64), r"labels of shape \(199,\) for 200 images"),
        ("labels", np.zeros((200, 2), np.int64), "int64 of shape"),
        ("labels", np.full(200, 10), "labels from 10 to 10 for 10 classes"),
        ("labels", np.full(200, -1), "labels from -1 to -1 for 10 classes"),
    ],
)
def test_a_cache_of_something_else_is_damaged(name, array, message, tmp_path):
    build(tmp_path / "set", META, some_images(), np.zeros(200))
    np.save(tmp_path / "set" / f"{name}.npy", array, allow_pickle=True)
    load = partial(cache.load_images, shape=SHAPE)
    if name == "labels":
        load = partial(cache.load_labels, count=200, num_classes=10)
    with pytest.raises(DataError, match=rf"{name}\.npy: damaged.*{message}"):
        load(tmp_path / "set")


def test_labels_of_other_classes_are_not_kept(tmp_path):
    with pytest.raises(DataError, match="set: labels from 0 to 10 for 10 classes"):
        cache.build(tmp_path / "set", META, lambda: (some_images(2), np.array([0, 10])), SHAPE, 10)
    assert visible(tmp_path) == []
