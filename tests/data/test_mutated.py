"""Files of data sets that are nearly good: each is read, or refused in one line."""

import gzip
import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutated import mutated, quick, read_or_refused
from PIL import Image

from ncsn.data.cifar10 import _read_file
from ncsn.data.decoding import DecodedFiles
from ncsn.data.mnist import read_idx
from ncsn.evaluation.image_sets import images_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutated")


def batch_of_python_2(images: np.ndarray, labels: list[int]) -> bytes:
    """A batch of CIFAR-10 as the published ones are: by cPickle of Python 2, whose text is bytes."""
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
    array += b"J" + struct.pack("<i", len(images)) + b"M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|"
    array += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<i", images.size)
    array += images.tobytes() + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}q\x01(U\x04data" + array + b"U\x06labels" + numbers + b"u."


IMAGES = np.random.default_rng(0).integers(0, 256, (3, 3072), dtype=np.uint8)
BATCH = batch_of_python_2(IMAGES, [1, 0, 9])


def test_the_batch_is_a_good_one(folder: Path) -> None:
    (folder / "good").write_bytes(BATCH)
    images, labels = _read_file(folder / "good")
    assert np.array_equal(images, IMAGES.reshape(3, 3, 32, 32))
    assert labels.tolist() == [1, 0, 9]
    assert np.array_equal(pickle.loads(BATCH, encoding="latin1")["data"], IMAGES)


@quick
@given(data=st.data())
def test_batches_of_cifar10(data: st.DataObject, folder: Path) -> None:
    head, tail = BATCH[:230], BATCH[230:]
    (folder / "batch").write_bytes(data.draw(st.one_of(mutated(BATCH), mutated(head).map(lambda h: h + tail))))
    read_or_refused(lambda: _read_file(folder / "batch"))


@quick
@given(data=st.data(), packed=st.booleans())
def test_idx(data: st.DataObject, packed: bool, folder: Path) -> None:
    content = data.draw(mutated(struct.pack(">IIII", 0x803, 3, 2, 2) + bytes(range(12))))
    path = folder / ("idx.gz" if packed else "idx")
    path.write_bytes(gzip.compress(content) if packed and data.draw(st.booleans()) else content)
    read_or_refused(lambda: read_idx(path, data.draw(st.sampled_from([1, 3]))))


@quick
@given(data=st.data(), kind=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]))
def test_npz(data: st.DataObject, kind: int, folder: Path) -> None:
    array, archive = io.BytesIO(), io.BytesIO()
    np.save(array, np.zeros((5, 4, 4, 3), np.uint8))
    content = array.getvalue()
    with zipfile.ZipFile(archive, "w", kind) as file:
        file.writestr("arr_0.npy", data.draw(mutated(content[:128])) + content[128:])
    content = archive.getvalue()
    (folder / "images.npz").write_bytes(data.draw(mutated(content)) if data.draw(st.booleans()) else content)
    read_or_refused(lambda: list(images_of(folder / "images.npz").batches(2)))


@quick
@given(data=st.data(), kind=st.sampled_from(["PNG", "JPEG", "BMP", "PPM", "TIFF", "WEBP"]))
def test_images(data: st.DataObject, kind: str, folder: Path) -> None:
    content = io.BytesIO()
    Image.fromarray(IMAGES[0].reshape(32, 32, 3)).save(content, kind)
    (folder / "image.png").write_bytes(data.draw(mutated(content.getvalue())))
    read_or_refused(lambda: DecodedFiles([folder / "image.png"], 3, lambda image: image)[0])
