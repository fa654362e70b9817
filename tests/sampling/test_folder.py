"""The folder of samples, where files in it are damaged."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ncsn.errors import ConfigError, DataError
from ncsn.sampling.folder import SampleFolder, save_array


def header(shape: str) -> bytes:
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize("shape", ["(2, 3, 3, 1)", f"({2**70}, 1, 1, 1)", "(2, -1, 1, 1)", "(2,", "2", "(" * 99])
def test_a_batch_with_a_damaged_header_is_not_done(shape: str, tmp_path: Path) -> None:
    folder = SampleFolder(tmp_path, {})
    (tmp_path / "batches").mkdir()
    (tmp_path / "batches" / "00000.npy").write_bytes(header(shape))
    assert not folder.is_done(0, 2)


def test_settings_of_another_are_shown_in_one_line(tmp_path: Path) -> None:
    SampleFolder(tmp_path, {"sampler": "\x1b[2J\n"})
    with pytest.raises(ConfigError, match="holds samples with sampler=") as raised:
        SampleFolder(tmp_path, {"sampler": "x"})
    assert str(raised.value).isprintable()
    (tmp_path / "settings.json").write_text("[]")
    with pytest.raises(DataError, match=r"settings\.json: damaged"):
        SampleFolder(tmp_path, {"sampler": "x"})


def test_only_images_of_the_right_number_are_done(tmp_path: Path) -> None:
    folder, images = SampleFolder(tmp_path, {}), np.zeros((2, 3, 3, 1), np.uint8)
    batch = tmp_path / "batches" / "00000.npy"
    for wrong in (images.astype(float), images[0], np.uint8(2)):
        save_array(np.asarray(wrong), batch)
        assert not folder.is_done(0, 2)
    save_array(images, batch)
    assert folder.is_done(0, 2)
    assert not folder.is_done(0, 3)
    np.savez(tmp_path / "archive.npz", images, images)
    (tmp_path / "archive.npz").rename(batch)
    assert not folder.is_done(0, 2)


def test_a_batch_with_a_flipped_bit_is_not_done(tmp_path: Path) -> None:
    folder, images = SampleFolder(tmp_path, {}), np.zeros((2, 3, 3, 1), np.uint8)
    chains = torch.zeros(2, 1, 3, 3)
    folder.save_batch(0, chains, chains)
    path = tmp_path / "batches" / "00000.npy"
    good = path.read_bytes()
    assert np.array_equal(np.load(path), images)
    path.write_bytes(good[:130] + b"\1" + good[131:])
    assert not folder.is_done(0, 2)
    path.write_bytes(b"")
    assert not folder.is_done(0, 2)


def test_who_draws_clears_what_a_killed_process_was_writing_and_leaves_an_evaluation_alone(tmp_path: Path) -> None:
    folder = SampleFolder(tmp_path, {})
    left = [
        tmp_path / name for name in (".grid.png.01.partial", "batches/.0.npy.01.partial", "images/.0.png.01.partial")
    ]
    others = [tmp_path / name for name in (".evaluation.json.01.partial", ".features-1/.0.npz.01.partial")]
    for path in (*left, *others):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    with folder.locked():
        assert [path for path in left if path.exists()] == []
        assert [path for path in others if path.exists()] == others
