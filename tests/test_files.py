"""Files that are there whole or not at all, checksums, links and locks."""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from elsewhere import held_elsewhere

from ncsn.checkpoint import load_score, resolve
from ncsn.data.cache import fingerprint
from ncsn.data.decoding import DecodedFiles
from ncsn.errors import DataError
from ncsn.evaluation.image_sets import images_of
from ncsn.evaluation.inception import Inception
from ncsn.files import (
    check_folder,
    is_whole,
    link,
    one_process_at_a_time,
    read_json,
    read_record,
    read_yaml,
    save_tensors,
    seal,
    write_text,
)
from ncsn.sampling.tasks.images import image_files
from ncsn.sampling.tasks.masks import read_mask


def test_a_failure_leaves_a_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "before")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("symbolic", [True, False])
def test_a_link_follows_its_target_also_where_symbolic_ones_are_refused(
    symbolic: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if not symbolic:

        def refuse(*_: object, **__: object) -> None:
            raise OSError("a required privilege is not held by the client")

        monkeypatch.setattr(Path, "symlink_to", refuse)
    for text in ("one", "two"):
        (tmp_path / text).write_text(text)
        link(tmp_path / "best", text)
        assert (tmp_path / "best").read_text() == text
    assert (tmp_path / "best").is_symlink() == symbolic


def test_a_lock_is_held_by_one_process(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    answers = context.Queue()

    def ask() -> bool:
        process = context.Process(target=held_elsewhere, args=(tmp_path / "run", answers))
        process.start()
        answer = answers.get(timeout=60)
        process.join()
        return bool(answer)

    with one_process_at_a_time(tmp_path / "run") as held:
        assert held
        assert not ask()
    assert ask()


def test_the_holder_of_a_lock_removes_what_killed_processes_left(tmp_path: Path) -> None:
    for left in ("one/.a.12.partial", "two/.b.34.partial", "two/.c.56.partial"):
        (tmp_path / left).parent.mkdir(exist_ok=True)
        (tmp_path / left).touch()
    with one_process_at_a_time(tmp_path / "run", tmp_path / "one" / "*", tmp_path / "two" / "b"):
        assert [path.name for path in tmp_path.rglob("*.partial")] == [".c.56.partial"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_where_no_lock_can_be_made_each_goes_on_for_itself(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with one_process_at_a_time(tmp_path / "run", wait=False) as held:
        assert held is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "[" * 9999),
        ("a.yaml", "!!int x"),
        ("a.yaml", "!!timestamp x"),
        ("a.yaml", "!!int ''"),
        ("a.yaml", "!!bool x"),
        ("a.yaml", "a: [\n"),
        ("a.yaml", "\x1b"),
        ("a.json", "[" * 99_999),
        ("a.json", "9" * 9999),
        ("a.json", ""),
    ],
)
def test_text_that_cannot_be_parsed_is_told_in_one_line(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError, match=rf"{name}: damaged \(.*\); write it again$") as raised:
        (read_yaml if path.suffix == ".yaml" else read_json)(path, "write it again")
    assert str(raised.value).isprintable()
    assert read_record(path) is None


@pytest.mark.parametrize("kind", ["checkpoint", "archive", "array"])
def test_a_flipped_bit_is_noticed_wherever_content_is(kind: str, tmp_path: Path) -> None:
    path, values = tmp_path / "file", np.arange(300, dtype=np.int64)
    if kind == "checkpoint":
        save_tensors({"a": torch.from_numpy(values), "b": "some text"}, path)
        content = torch.load(path, weights_only=True)["a"].numpy()
    else:
        with path.open("wb") as file:
            np.savez(file, a=values) if kind == "archive" else np.save(file, values)
        if kind == "array":
            assert is_whole(path)  # of others, who put no checksum there
            seal(path)
        content = np.load(path, mmap_mode="r")
        content = content["a"] if kind == "archive" else content
    assert content.tolist() == values.tolist()
    assert is_whole(path)
    good = path.read_bytes()
    first = good.index(values[1:4].tobytes())
    for place in (first, first + 999, first + 8 * 298):
        path.write_bytes(good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :])
        assert not is_whole(path)
    path.write_bytes(good)
    assert is_whole(path)
    path.write_bytes(b"")
    assert is_whole(path)
    assert not is_whole(path.rename(tmp_path / "file.npy"))  # of others, and yet no array
    assert not is_whole((tmp_path / "file.npy").rename(tmp_path / "file.npz"))
    assert not is_whole(path)  # which is not there any more


def test_checksums_are_the_same_however_long_a_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ncsn.files._CHUNK", 64)
    path = tmp_path / "file"
    for size in (1, 63, 64, 65, 1000):
        path.write_bytes(os.urandom(size))
        seal(path)
        assert is_whole(path)
        damaged = bytearray(path.read_bytes())
        damaged[size - 1] ^= 1
        path.write_bytes(damaged)
        assert not is_whole(path)


def test_a_full_disk_is_told_as_such_and_leaves_what_was_there(tmp_path: Path) -> None:
    script = """
import resource, signal, sys
from pathlib import Path
import numpy, torch
from ncsn.files import atomically, save_tensors
path = Path(sys.argv[1])
save_tensors({"a": 1}, path)
before = path.read_bytes()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
def array():
    with atomically(path) as partial, partial.open("wb") as file:
        numpy.save(file, numpy.zeros(100_000))
for write in (lambda: save_tensors({"a": torch.randn(100_000)}, path), array):
    try:
        write()
    except OSError as error:
        assert error.errno and error.strerror and error.filename == str(path), repr(error)
    else:
        raise SystemExit("nothing was raised")
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]
"""
    pytest.importorskip("resource")
    run = subprocess.run([sys.executable, "-c", script, str(tmp_path / "a.ckpt")], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_what_is_written_into_a_folder_stays_there(tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "run-other"
    for folder in (run / "checkpoints", other):
        folder.mkdir(parents=True)
    (run / "checkpoints" / "last.ckpt").symlink_to("step_1.ckpt")
    (run / "a").symlink_to("checkpoints")
    (tmp_path / "link").symlink_to(run)
    check_folder(run)
    check_folder(tmp_path / "link")
    for target in (other, other / "not_there", "..", "/"):
        (run / "checkpoints" / "x").symlink_to(target)
        with pytest.raises(DataError, match="checkpoints/x: is a link that leads out of"):
            check_folder(run)
        (run / "checkpoints" / "x").unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(run / "x")
        with pytest.raises(DataError, match="x: is neither a file nor a folder"):
            check_folder(run)
        for read in (read_json, read_yaml):
            with pytest.raises(DataError, match="neither a file nor a folder"):
                read(run / "x")


def test_an_error_is_one_line_whatever_a_file_is_called() -> None:
    assert str(DataError("a\n\x1b[2J\ud800.png: damaged")) == "a  [2J .png: damaged"


READERS: dict[str, Callable[[Path], object]] = {  # of what a user names
    "a checkpoint": resolve,
    "a network": load_score,
    "samples": images_of,
    "images": lambda path: image_files(str(path)),
    "a mask": lambda path: read_mask(path, 8),
    "an image": lambda path: DecodedFiles([path], 1, lambda image: image)[0],
    "a data set": lambda path: fingerprint([path], path.parent),
    "weights": lambda path: Inception(str(path)),
    "a record": read_json,
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes by name")
@pytest.mark.parametrize("what", READERS)
def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(what: str, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.safetensors"
    os.mkfifo(pipe)
    with pytest.raises(DataError, match=r"pipe\.safetensors: neither a file nor a folder"):
        READERS[what](pipe)
