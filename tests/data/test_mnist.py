import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from ncsn.data import MNIST
from ncsn.errors import ConfigError, DataError

N = {"train": 12, "t10k": 5}


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for prefix, n in N.items():
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = np.arange(n, dtype=np.uint8) % 10
        (raw / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (raw / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    return tmp_path


def prepared(root: Path, **options) -> MNIST:
    data = MNIST(root=str(root), batch_size=4, **options)
    data.prepare_data()
    data.setup()
    return data


def snapshot(root: Path) -> dict[str, bytes]:
    """The files below a folder, apart from locks."""
    return {str(p): p.read_bytes() for p in root.rglob("[!.]*") if p.is_file()}


@pytest.mark.parametrize("compressed", [True, False])
def test_compressed_or_not(root, compressed):
    if not compressed:
        for path in (root / "MNIST" / "raw").iterdir():
            path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
            path.unlink()
    data = prepared(root, download=False)
    assert data.images("train").shape == (12, 1, 28, 28)
    assert data.images("val").shape == (5, 1, 28, 28)
    assert data.labels("train").tolist() == [*range(10), 0, 1]
    expected = np.random.default_rng(0).integers(0, 256, (12, 28, 28), dtype=np.uint8)
    assert np.array_equal(data.images("train")[:, 0], expected)


def test_files_are_read_once_until_they_change(root, monkeypatch):
    prepared(root)
    monkeypatch.setattr(MNIST, "read", lambda *_: pytest.fail("decoded again"))
    prepared(root)
    monkeypatch.undo()
    path = root / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx(np.zeros((12, 28, 28), np.uint8))))
    assert not prepared(root).images("train").any()


def test_a_root_moved_with_its_cache_needs_no_decoding(root, tmp_path_factory, monkeypatch):
    prepared(root)
    moved = tmp_path_factory.mktemp("elsewhere") / "data"
    root.rename(moved)
    monkeypatch.setattr(MNIST, "read", lambda *_: pytest.fail("decoded again"))
    prepared(moved)


def test_the_cache_may_be_elsewhere(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("cache")
    before = snapshot(root)
    prepared(root, cache_dir=str(elsewhere))
    assert snapshot(root) == before
    assert len(list(elsewhere.glob("[!.]*"))) == 2


def test_a_root_that_cannot_be_written(root):
    (root / "cache").write_text("")  # stands in for a read-only folder, which root may write to
    with pytest.raises(DataError, match=r"data\.cache_dir"):
        prepared(root)


def test_a_missing_file(root):
    (root / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError) as raised:
        prepared(root, download=False)
    for part in ("t10k-labels-idx1-ubyte.gz: missing", "https://", "data.root", "data.download=true"):
        assert part in str(raised.value)


def test_a_missing_file_without_a_network(root, monkeypatch):
    (root / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz").unlink()

    def no_network(*_, **__):
        raise OSError("Network is unreachable")

    monkeypatch.setattr("pooch.retrieve", no_network)
    before = snapshot(root)
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz: missing.*Network is unreachable"):
        prepared(root)
    assert all(snapshot(root)[path] == content for path, content in before.items())


IMAGES = idx(np.zeros((12, 28, 28), np.uint8))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html>404</html>", "cannot be read"),
        (b"", "found something else"),
        (gzip.compress(IMAGES, mtime=0)[:-9], "cannot be read"),
        (gzip.compress(b"<html>404</html>", mtime=0), "found something else"),
        (gzip.compress(IMAGES[:-1], mtime=0), "expected 9408 values, found 9407"),
        (gzip.compress(IMAGES[:7], mtime=0), "found something else"),
        (gzip.compress(idx(np.zeros(12, np.uint8)), mtime=0), "found something else"),
        (gzip.compress(idx(np.zeros((12, 20, 28), np.uint8)), mtime=0), "28×28"),
        (gzip.compress(idx(np.zeros((0, 28, 28), np.uint8)), mtime=0), "28×28"),
        (gzip.compress(idx(np.zeros((11, 28, 28), np.uint8)), mtime=0), "labels-idx1-ubyte.gz: expected 11 labels"),
    ],
)
def test_a_file_that_is_not_what_it_should_be(root, content, reason):
    path = root / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    before = snapshot(root)
    with pytest.raises(DataError, match=reason) as raised:
        prepared(root)
    assert "MNIST/raw/train-" in str(raised.value)
    assert snapshot(root) == before  # the user's file is kept, no cache is begun


@pytest.mark.parametrize(
    ("shape", "message"),
    [((2**31, 2**31, 4), "expected 18446744073709551616 values"), ((2**32 - 1,) * 3, "values, found 0")],
)
def test_sizes_that_no_number_holds(root, shape, message):
    path = root / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(struct.pack(">IIII", 0x803, *shape)))
    with pytest.raises(DataError, match=message):
        prepared(root)


def test_a_file_is_not_decompressed_without_end(root, monkeypatch):
    monkeypatch.setattr("ncsn.data.mnist._LARGEST", 999)
    with pytest.raises(DataError, match="found one of over 999 bytes"):
        prepared(root)


def test_there_is_one_size():
    with pytest.raises(ConfigError, match=r"^data\.image_size=32: must be 28 for mnist$"):
        MNIST(image_size=32)
    with pytest.raises(ConfigError, match=r"^data\.channels=3: must be 1 for mnist$"):
        MNIST(channels=3)


def test_the_real_set(real_data, tmp_path):
    data = prepared(real_data, cache_dir=str(tmp_path), download=False)
    assert data.images("train").shape == (60_000, 1, 28, 28)
    assert data.images("val").shape == (10_000, 1, 28, 28)
    assert data.images("train").double().mean() / 255 == pytest.approx(0.1307, abs=1e-4)
    assert data.labels("train")[:5].tolist() == [5, 0, 4, 1, 9]
    assert torch.bincount(data.labels("val"))[:3].tolist() == [980, 1135, 1032]
