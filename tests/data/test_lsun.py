"""LSUN from databases and folders made as they are published."""

import dataclasses
import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from mutated import mutated, quick, read_or_refused
from omegaconf import OmegaConf
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Resize

from ncsn.data import LSUN
from ncsn.data.lsun import Database
from ncsn.errors import DataError

COUNTS = {"train": 7, "val": 3}


def encoded(seed: int, kind: str) -> bytes:
    """A photograph of LSUN: the shorter side 256 pixels, here 64."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    size = (96, 64) if seed % 2 else (64, 80)
    file = io.BytesIO()
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(file, kind)
    return file.getvalue()


def key(value: bytes) -> bytes:
    return hashlib.sha1(value).hexdigest().encode()


def write_lmdb(folder: Path, values: dict[bytes, bytes]) -> None:
    folder.mkdir(parents=True)
    with lmdb.open(str(folder), map_size=2**24) as environment, environment.begin(write=True) as transaction:
        for name, value in values.items():
            transaction.put(name, value)


@pytest.fixture
def images() -> dict[str, dict[bytes, bytes]]:
    values = {
        split: [encoded(10 * n + (split == "val"), "WEBP" if n % 2 else "JPEG") for n in range(count)]
        for split, count in COUNTS.items()
    }
    return {split: {key(value): value for value in some} for split, some in values.items()}


@pytest.fixture
def databases(tmp_path: Path, images: dict) -> Path:
    for split, values in images.items():
        write_lmdb(tmp_path / f"tower_{split}_lmdb", values)
    return tmp_path


def prepared(root: Path, **options) -> LSUN:
    data = LSUN(**{"root": str(root), "category": "tower", "image_size": 32, "batch_size": 2, **options})
    data.prepare_data()
    data.setup()
    return data


def authors(value: bytes, size: int) -> np.ndarray:
    """The preprocessing of the authors' code."""
    image = Image.open(io.BytesIO(value)).convert("RGB")
    return np.asarray(Compose([Resize(size), CenterCrop(size)])(image)).transpose(2, 0, 1)


@pytest.mark.parametrize("size", [16, 32, 96])
def test_databases(databases: Path, images: dict, size: int) -> None:
    data = prepared(databases, image_size=size)
    assert data.labels("train") is None
    for split, count in COUNTS.items():
        found = data.images(split)
        assert (found.shape, found.dtype) == ((count, 3, size, size), torch.uint8)
        for name, image in zip(sorted(images[split]), found, strict=True):
            assert np.array_equal(image, authors(images[split][name], size))


@pytest.mark.parametrize("place", ["lsun", "."])
@pytest.mark.parametrize("layout", ["flat", "deep"])
def test_folders_hold_the_same(tmp_path: Path, databases: Path, images: dict, place: str, layout: str) -> None:
    """As the set's own script exports them: names of keys, in folders of their first characters unless flat."""
    root = tmp_path / "exported"
    for split, values in images.items():
        for name, value in values.items():
            parts = [] if layout == "flat" else list(name[:6].decode())
            path = root.joinpath(place, f"tower_{split}", *parts, f"{name.decode()}.webp")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(value)
    from_folders, from_databases = prepared(root), prepared(databases)
    for split in COUNTS:
        assert torch.equal(from_folders.images(split), from_databases.images(split))


def test_databases_come_first_and_categories_do_not_mix(databases: Path, save_noise: Callable) -> None:
    for split in COUNTS:
        save_noise(databases / f"tower_{split}" / "a.jpg", (64, 64), 0)
        save_noise(databases / f"bedroom_{split}" / "a.jpg", (64, 64), 1)
    tower, bedroom = prepared(databases), prepared(databases, category="bedroom", batch_size=1)
    assert (len(tower.images("train")), len(bedroom.images("train"))) == (7, 1)
    assert len(prepared(databases).images("train")) == 7


def test_decoded_once(databases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = prepared(databases).images("train").clone()
    monkeypatch.setattr(LSUN, "read", lambda *_: pytest.fail("decoded again"))
    assert torch.equal(prepared(databases).images("train"), before)


def test_a_database_is_read_value_by_value(databases: Path, images: dict) -> None:
    database = Database(databases / "tower_train_lmdb")
    assert len(database) == 7
    with database[3].open("rb") as file:
        assert file.read() == images["train"][sorted(images["train"])[3]]
    assert [str(value) for value in database[5:]] == [str(database[5]), str(database[6])]


def test_a_database_may_be_read_again_while_it_is_open(databases: Path) -> None:
    """As a sweep does whose last job failed: what it had open lives on with its error."""
    first = Database(databases / "tower_train_lmdb")
    assert len(Database(databases / "tower_train_lmdb")) == len(first) == 7


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a folder that cannot be written")
def test_a_database_need_not_be_writable(databases: Path) -> None:
    folder = databases / "tower_train_lmdb"
    (folder / "lock.mdb").unlink()
    folder.chmod(0o500)
    try:
        assert len(Database(folder)) == 7
    finally:
        folder.chmod(0o700)


def test_reading_leaves_no_lock_file(databases: Path) -> None:
    folder = databases / "tower_train_lmdb"
    (folder / "lock.mdb").unlink()
    prepared(databases)
    assert [path.name for path in folder.iterdir()] == ["data.mdb"]


def test_a_damaged_value_is_named(databases: Path) -> None:
    with lmdb.open(str(databases / "tower_val_lmdb")) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"ffff", b"not an image")
    with pytest.raises(DataError, match=r"tower_val_lmdb\[ffff\]: not an image that can be used"):
        prepared(databases)
    assert not list((databases / "cache").glob("lsun-val*"))


def test_a_damaged_database(databases: Path) -> None:
    (databases / "tower_train_lmdb" / "data.mdb").write_bytes(b"x" * 10_000)
    with pytest.raises(DataError, match=r"tower_train_lmdb: not an LMDB that can be read .*unpack it again"):
        prepared(databases)


def test_an_empty_database(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "tower_train_lmdb", {})
    with pytest.raises(DataError, match=r"data\.mdb: holds no image"):
        prepared(tmp_path)


@quick
@given(data=st.data())
def test_a_database_that_is_nearly_good_is_read_or_refused(data: st.DataObject, once: Callable) -> None:
    folder = once(
        "database", lambda folder: write_lmdb(folder / "good", {b"%040d" % n: b"x" * n * 90 for n in range(99)})
    )
    content = (folder / "good" / "data.mdb").read_bytes()
    page = 4096 * data.draw(st.integers(0, len(content) // 4096 - 1))
    changed = data.draw(st.one_of(mutated(content), mutated(content[page : page + 40])))
    (folder / "data.mdb").write_bytes(
        changed if len(changed) > 200 else content[:page] + changed + content[page + 40 :]
    )
    read_or_refused(lambda: [value.open("rb").read() for value in Database(folder)])


def test_a_large_database_is_read_as_its_library_reads_it(tmp_path: Path) -> None:
    values = {b"%040d" % (7 * n % 5003): b"%d" % n * (n % 3000) for n in range(5003)}
    with lmdb.open(str(tmp_path), map_size=2**28) as environment:
        with environment.begin(write=True) as transaction:
            for name, value in values.items():
                transaction.put(name, value)
        with environment.begin(write=True) as transaction:
            for name in list(values)[::7]:
                transaction.delete(name)
                del values[name]
    database = Database(tmp_path)
    assert [value.key for value in database] == sorted(values)
    assert all(value.open("rb").read() == values[value.key] for value in database)


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        prepared(tmp_path, category="church_outdoor")
    for part in ("lsun/church_outdoor_train_lmdb: missing", "dl.yf.io", "church_outdoor_train_lmdb.zip", "data.root"):
        assert part in str(raised.value)


@pytest.mark.parametrize(
    ("name", "category", "size"),
    [("lsun_church", "church_outdoor", 96), ("lsun_bedroom", "bedroom", 128), ("lsun_tower", "tower", 128)],
)
def test_its_configurations(name: str, category: str, size: int) -> None:
    conf = Path(__file__).parents[2] / "conf" / "data" / f"{name}.yaml"
    config = OmegaConf.merge({"seed": 3}, {"data": OmegaConf.load(conf)})
    data = instantiate(config.data)
    assert set(config.data) - {"_target_"} == {field.name for field in dataclasses.fields(data)}
    assert (data.name, data.category, data.image_size, data.flip, data.seed) == (name, category, size, True, 3)
