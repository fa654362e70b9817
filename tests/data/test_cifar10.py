import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from ncsn.data import CIFAR10
from ncsn.data import cifar10 as module
from ncsn.errors import DataError

NAMES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


def batch(i: int, n: int = 4) -> dict:
    data = np.random.default_rng(i).integers(0, 256, (n, 3072), dtype=np.uint8)
    return {"data": data, "labels": [i] * n, "batch_label": "of a test"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for i, name in enumerate(NAMES):
        (folder / name).write_bytes(pickle.dumps(batch(i), protocol=4))
    return tmp_path


def prepared(root: Path, **options) -> CIFAR10:
    data = CIFAR10(root=str(root), batch_size=4, **{"download": False, **options})
    data.prepare_data()
    data.setup()
    return data


def pack(root: Path) -> Path:
    folder = root / "cifar-10-batches-py"
    with tarfile.open(root / "cifar-10-python.tar.gz", "w:gz") as archive:
        for name in reversed(NAMES):
            archive.add(folder / name, f"cifar-10-batches-py/{name}")
    for path in folder.iterdir():
        path.unlink()
    return root / "cifar-10-python.tar.gz"


@pytest.mark.parametrize("packed", [False, True])
def test_unpacked_or_not(root, packed):
    if packed:
        pack(root)
    data = prepared(root)
    assert data.labels("train").tolist() == [i for i in range(5) for _ in range(4)]
    assert data.labels("val").tolist() == [5] * 4
    for i, images in enumerate(data.images("train").split(4)):
        assert np.array_equal(images, batch(i)["data"].reshape(4, 3, 32, 32))


def test_a_missing_batch(root):
    (root / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(DataError) as raised:
        prepared(root)
    for part in ("data_batch_3: missing", "https://", "data.root", "data.download=true"):
        assert part in str(raised.value)


def test_no_network(tmp_path, monkeypatch):
    def no_network(*_, **__):
        raise OSError("Network is unreachable")

    monkeypatch.setattr("pooch.retrieve", no_network)
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz: missing.*Network is unreachable"):
        prepared(tmp_path, download=True)
    assert list(tmp_path.glob("[!.]*")) == []


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>404</html>",
        pickle.dumps(batch(1), protocol=4)[:-100],
        pickle.dumps({"data": batch(1)["data"]}, protocol=4),
        pickle.dumps({**batch(1), "labels": [0]}, protocol=4),
        pickle.dumps({**batch(1), "data": np.zeros((4, 100), np.uint8)}, protocol=4),
        pickle.dumps([1, 2, 3]),
        pickle.dumps(Harmful()),
        pickle.dumps({**batch(1), "labels": [1, 2, 3, 10]}, protocol=4),
        pickle.dumps({**batch(1), "labels": ["1"] * 4}, protocol=4),
        pickle.dumps({**batch(1), "data": np.zeros((4, 3072), np.float32)}, protocol=4),
        pickle.dumps({**batch(1), "data": np.array([[print] * 3072] * 4, object)}, protocol=4),
        b"\x80\x02cnumpy\nndarray\n(K\x04tR.",  # memory that nobody has written to
        b"\x80\x02cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb.",
        b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b".",
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_batch_that_is_not_what_it_should_be(root, content, packed, monkeypatch):
    monkeypatch.chdir(root)
    path = root / "cifar-10-batches-py" / "data_batch_2"
    path.write_bytes(content)
    if packed:
        path = pack(root)
    with pytest.raises(DataError, match=rf"{path.name}: expected .* cannot be read"):
        prepared(root)
    assert path.exists()
    assert list((root / "cache").glob("[!.]*")) == []
    assert not (root / "harm").exists()


def test_a_truncated_archive(root):
    archive = pack(root)
    os.truncate(archive, archive.stat().st_size // 2)
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz: expected"):
        prepared(root, download=True)
    assert archive.exists()


def test_the_real_set(real_data, tmp_path):
    data = prepared(real_data, cache_dir=str(tmp_path))
    images = data.images("train")
    assert images.shape == (50_000, 3, 32, 32)
    assert data.images("val").shape == (10_000, 3, 32, 32)
    means = [images[:, c].double().mean().item() / 255 for c in range(3)]
    assert means == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-4)
    assert data.labels("train").bincount().tolist() == [5000] * 10


@pytest.mark.parametrize(("limit", "most"), [("_LARGEST", 9999), ("_MOST_FILES", 2)])
def test_an_archive_is_not_read_without_end(limit, most, root, monkeypatch):
    pack(root)
    monkeypatch.setattr(module, limit, most)
    with pytest.raises(DataError, match=rf"cifar-10-python\.tar\.gz: .*holds (more than|over) {most:,}"):
        prepared(root)


def test_links_in_an_archive_are_not_followed(root):
    (root / "data_batch_1").write_bytes(pickle.dumps(batch(0), protocol=4))
    with tarfile.open(root / "cifar-10-python.tar.gz", "w:gz") as archive:
        for name in NAMES:
            for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                member = tarfile.TarInfo(f"../../{name}")
                member.type, member.linkname = kind, str(root / "data_batch_1")
                archive.addfile(member)
    for path in (root / "cifar-10-batches-py").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz: .*'data_batch_1'"):
        prepared(root)
