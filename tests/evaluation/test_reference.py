import json
import logging
import shutil
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from judged import Averages
from PIL import Image
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from ncsn.data import ImageFolder
from ncsn.errors import DataError
from ncsn.evaluation import Reference, extract, frechet_distance, image_sets, reference
from ncsn.evaluation.reference import statistics_of


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "raw").mkdir()
    for i in range(40):
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(tmp_path / "raw" / f"{i:02d}.png")
    return tmp_path / "raw"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "references"


def prepared(root, **options) -> ImageFolder:
    data = ImageFolder(root=str(root), **{"image_size": 8, "val_fraction": 0.25, **options})
    data.prepare_data()
    return data


def test_it_holds_features_and_statistics_of_all_images(root, folder):
    data, network = prepared(root), Averages()
    reference = Reference.of(data, "train", network, folder, batch_size=7)
    expected = extract(network, [data.images("train")])
    torch.testing.assert_close(reference.features.features, expected.features)
    torch.testing.assert_close(reference.features.logits, expected.logits)
    statistics = fid_features_to_statistics(expected.features)
    np.testing.assert_allclose(reference.statistics["mu"], statistics["mu"], rtol=1e-6)
    np.testing.assert_allclose(reference.statistics["sigma"], statistics["sigma"], rtol=1e-4)
    assert reference.network == {"name": "averages", "checksum": "weight 1.0"}
    assert reference.key["images"]["name"] == "image_folder"
    assert reference.key["images"]["split"] == "train"


def test_the_second_call_reads_no_image(root, folder, monkeypatch):
    data, network = prepared(root), Averages()
    first = Reference.of(data, "train", network, folder, batch_size=10)
    assert sum(network.batches) == 30
    monkeypatch.setattr(ImageFolder, "images", lambda *_: pytest.fail("images read again"))
    second = Reference.of(data, "train", network, folder)
    assert sum(network.batches) == 30
    assert torch.equal(first.features.features, second.features.features)
    assert torch.equal(first.features.logits, second.features.logits)
    assert np.array_equal(first.statistics["sigma"], second.statistics["sigma"])
    assert first.key == second.key


def test_statistics_are_those_of_torch_fidelity(monkeypatch):
    monkeypatch.setattr(reference, "_BLOCK", 64 * 700)  # several blocks, the last one smaller
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(64, 64, generator=generator)
    # As large as Inception's, and far from 0 compared with their spread.
    sets = [0.4 + torch.randn(5000, 64, generator=generator) @ mixed * scale for scale in (0.01, 0.011)]
    ours, theirs = ([of(features) for features in sets] for of in (statistics_of, fid_features_to_statistics))
    for features, a, b in zip(sets, ours, theirs, strict=True):
        assert (a["mu"].dtype, a["sigma"].dtype) == (b["mu"].dtype, b["sigma"].dtype)
        np.testing.assert_allclose(a["mu"], features.double().mean(0), rtol=1e-7)
        np.testing.assert_allclose(a["sigma"], b["sigma"], rtol=1e-9, atol=1e-12)
    expected = fid_statistics_to_metric(*theirs, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(*ours) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(ours[0], theirs[1]) == pytest.approx(expected, rel=1e-5)  # a reference made by theirs


def test_statistics_take_no_memory_that_grows_with_the_features(tmp_path, monkeypatch):
    monkeypatch.setattr(reference, "_BLOCK", 2**14)  # 128 KB of float64
    np.save(tmp_path / "features.npy", np.ones((200_000, 8), np.float32))
    features = torch.from_numpy(np.load(tmp_path / "features.npy", mmap_mode="c"))
    tracemalloc.start()
    try:
        statistics_of(features)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < features.nbytes / 10


@pytest.mark.parametrize("kind", ["folder", "npz"])
def test_of_a_folder_likewise(root, folder, monkeypatch, kind):
    images = torch.cat(list(image_sets.images_of(root).batches(40)))
    path = root if kind == "folder" else root.parent / "real.npz"
    if kind == "npz":
        np.savez(path, images.permute(0, 2, 3, 1).numpy())
    network = Averages()
    first = Reference.of_folder(path, network, folder, batch_size=16)
    torch.testing.assert_close(first.features.features, extract(network, [images]).features)
    monkeypatch.setattr(network, "forward", lambda *_: pytest.fail("computed again"))
    for kind_of_set in (image_sets.FolderOfImages, image_sets.NpzOfImages):
        monkeypatch.setattr(kind_of_set, "batches", lambda *_: pytest.fail("images read again"))
    second = Reference.of_folder(path, network, folder)
    assert torch.equal(first.features.features, second.features.features)


def test_of_two_at_the_same_time_one_computes(root, folder):
    data, networks, together = prepared(root), [Averages(), Averages()], threading.Barrier(2)

    def of(network):
        together.wait()
        return Reference.of(data, "train", network, folder)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(of, networks)
    assert torch.equal(first.features.features, second.features.features)
    assert sorted(sum(network.batches) for network in networks) == [0, 30]


def test_folders_below_the_home_folder(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parent))
    Reference.of_folder(Path("~/raw"), Averages(), Path("~/kept"))
    assert len(list((root.parent / "kept").glob("[!.]*"))) == 1


class ImageFolderWithCrop(ImageFolder):
    """A data set whose preprocessing has one more parameter."""

    cache_keys = (*ImageFolder.cache_keys, "crop")
    crop = 12


@pytest.mark.parametrize("change", ["split", "size", "channels", "seed", "crop", "weights", "network"])
def test_another_key_is_another_reference(root, folder, monkeypatch, change):
    monkeypatch.setattr(ImageFolderWithCrop, "crop", 12)
    network = Averages()

    def of(split="train", network=network, **options):
        data = ImageFolderWithCrop(root=str(root), **{"image_size": 8, "val_fraction": 0.5, **options})
        data.prepare_data()
        return Reference.of(data, split, network, folder)

    first = of()
    match change:
        case "split":
            second = of(split="val")
        case "size":
            second = of(image_size=4)
        case "channels":
            second = of(channels=1)
        case "seed":
            second = of(seed=1)
        case "crop":
            monkeypatch.setattr(ImageFolderWithCrop, "crop", 10)
            second = of()
        case "weights":
            second = of(network=Averages(weight=2.0))
        case "network":
            network.name = "others"
            second = of()
    assert second.key != first.key
    assert len(list(folder.glob("[!.]*"))) == 2


def test_files_that_change_make_the_reference_stale(root, folder):
    network = Averages()
    first = Reference.of(prepared(root), "train", network, folder)
    Image.new("RGB", (12, 12)).save(root / "new.png")
    second = Reference.of(prepared(root), "train", network, folder)
    assert (len(first.features), len(second.features)) == (30, 31)
    assert len(list(folder.glob("[!.]*"))) == 1
    of_files = [len(Reference.of_folder(root, network, folder).features)]
    (root / "new.png").unlink()
    of_files.append(len(Reference.of_folder(root, network, folder).features))
    assert of_files == [41, 40]


def test_what_lies_in_its_place_is_not_taken_for_it(root, folder):
    """The name of the folder is a short hash; what counts is the whole key within."""
    data = prepared(root)
    Reference.of(data, "train", Averages(), folder)
    (place,) = folder.glob("[!.]*")
    foreign = Averages(weight=3.0)
    Reference.of(data, "train", foreign, folder.parent / "elsewhere")
    shutil.rmtree(place)
    next((folder.parent / "elsewhere").glob("[!.]*")).rename(place)
    network = Averages()
    found = Reference.of(data, "train", network, folder)
    assert sum(network.batches) == 30
    assert found.network["checksum"] == "weight 1.0"
    assert [p.name for p in folder.glob("[!.]*")] == [place.name]


def truncate(place, name):
    content = (place / name).read_bytes()
    (place / name).write_bytes(content[: len(content) // 2])


def flip_a_byte(place, name):
    content = bytearray((place / name).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (place / name).write_bytes(content)


def swap(place, name):
    np.save(place / name, np.zeros((30, 3), np.float32))


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        (truncate, "features.npy"),
        (truncate, "logits.npy"),
        (truncate, "statistics.npz"),
        (truncate, "meta.json"),
        (flip_a_byte, "statistics.npz"),
        (swap, "features.npy"),
        (lambda place, name: (place / name).unlink(), "features.npy"),
        (lambda place, name: (place / name).unlink(), "statistics.npz"),
    ],
)
def test_what_is_damaged_is_computed_anew(root, folder, caplog, damage, name):
    data, network = prepared(root), Averages()
    first = Reference.of(data, "train", network, folder)
    expected = first.features.features.clone()
    (place,) = folder.glob("[!.]*")
    damage(place, name)
    with caplog.at_level(logging.WARNING):
        again = Reference.of(data, "train", network, folder)
    assert torch.equal(again.features.features, expected)
    assert sum(network.batches) == 60
    assert name == "meta.json" or "damaged" in caplog.text
    Reference.of(data, "train", network, folder)
    assert sum(network.batches) == 60


class Breaking(Averages):
    """Fails at its second batch."""

    def forward(self, images):
        if self.batches:
            raise KeyboardInterrupt
        return super().forward(images)


def test_what_is_interrupted_leaves_nothing(root, folder):
    data = prepared(root)
    with pytest.raises(KeyboardInterrupt):
        Reference.of(data, "train", Breaking(), folder, batch_size=10)
    assert list(folder.glob("[!.]*")) == []
    assert len(Reference.of(data, "train", Averages(), folder).features) == 30


def test_a_folder_that_cannot_be_written(root, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file: cannot keep features here"):
        Reference.of(prepared(root), "train", Averages(), tmp_path / "file")


def test_data_that_is_not_prepared(root, folder):
    with pytest.raises(DataError, match=r"call prepare_data\(\) first"):
        Reference.of(ImageFolder(root=str(root), image_size=8), "train", Averages(), folder)


def test_the_key_is_plain_and_lies_beside_the_features(root, folder):
    reference = Reference.of(prepared(root), "val", Averages(), folder)
    (place,) = folder.glob("[!.]*")
    assert json.loads((place / "meta.json").read_text()) == reference.key
