"""Files that are there whole or not at all, links and locks."""

import multiprocessing
import os
from pathlib import Path

import pytest
from elsewhere import held_elsewhere

from ncsn.errors import DataError
from ncsn.files import link, one_process_at_a_time, read_json, read_record, read_yaml, write_text


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
    context = multiprocessing.get_context("spawn")
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


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_where_no_lock_can_be_made_each_goes_on_for_itself(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with one_process_at_a_time(tmp_path / "run", wait=False) as held:
        assert held


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
