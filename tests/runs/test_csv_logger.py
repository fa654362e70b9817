"""metrics.csv: columns may come later, and a resumed run goes on writing it."""

import csv
from pathlib import Path

import pytest

from ncsn.runs.csv_logger import CSVLogger


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def write(folder: Path, *rows: tuple[int, dict[str, float]]) -> None:
    logger = CSVLogger(str(folder))
    for step, metrics in rows:
        logger.log_metrics(metrics, step)
    logger.save()


def test_a_column_may_come_later(tmp_path: Path) -> None:
    write(tmp_path, (1, {"loss": 3.0}), (2, {"loss": 2.0, "val": 5.0}), (3, {"loss": 1.0}))
    assert [row["loss"] for row in rows_of(tmp_path)] == ["3.0", "2.0", "1.0"]
    assert [row["val"] for row in rows_of(tmp_path)] == ["", "5.0", ""]


def test_a_resumed_run_drops_the_rows_it_repeats_and_keeps_the_others(tmp_path: Path) -> None:
    write(tmp_path, (1, {"loss": 1.0}), (2, {"loss": 2.0}), (2, {"val": 2.5}), (3, {"loss": 3.0}), (4, {"loss": 4.0}))
    write(tmp_path, (3, {"loss": 30.0}), (4, {"loss": 40.0}))
    assert [(row["step"], row["loss"] or row["val"]) for row in rows_of(tmp_path)] == [
        ("1", "1.0"), ("2", "2.0"), ("2", "2.5"), ("3", "30.0"), ("4", "40.0")
    ]  # fmt: skip


def test_a_resumed_run_may_bring_new_columns(tmp_path: Path) -> None:
    write(tmp_path, (1, {"loss": 1.0}), (2, {"loss": 2.0}))
    write(tmp_path, (3, {"loss": 3.0, "val": 9.0}))
    assert [row["loss"] for row in rows_of(tmp_path)] == ["1.0", "2.0", "3.0"]
    assert [row["val"] for row in rows_of(tmp_path)] == ["", "", "9.0"]


@pytest.mark.parametrize("content", ["", "loss,step\n", "loss,step\n2.0,1\n3.0"])
def test_a_file_cut_short_does_not_stop_a_resumed_run(content: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(content)
    write(tmp_path, (2, {"loss": 5.0}))
    assert rows_of(tmp_path)[-1]["loss"] == "5.0"


@pytest.mark.parametrize(
    "content", [b"loss\n1.0\n", b"loss,step\n1.0,x\n", b"loss,step\n\xff,1\n", b'"' + b"9" * 200_000 + b"\n"]
)
def test_what_is_no_such_file_is_kept_aside(content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "metrics.csv").write_bytes(content)
    write(tmp_path, (2, {"loss": 5.0}))
    assert rows_of(tmp_path) == [{"loss": "5.0", "step": "2"}]
    assert (tmp_path / "metrics_damaged.csv").read_bytes() == content
    assert "metrics.csv: damaged" in caplog.text


def test_what_a_step_has_is_known_when_a_run_goes_on_after_it(tmp_path: Path) -> None:
    write(tmp_path, (1, {"loss": 1.0}), (2, {"loss": 2.0}), (2, {"val": 2.5}), (3, {"loss": 3.0}))
    logger = CSVLogger(str(tmp_path))
    assert logger.go_on_after(2) == {"loss", "val", "step"}
    logger.log_metrics({"loss": 30.0}, 3)
    assert [row["loss"] or row["val"] for row in rows_of(tmp_path)] == ["1.0", "2.0", "2.5", "30.0"]


def test_the_file_is_there_after_every_row(tmp_path: Path) -> None:
    logger = CSVLogger(str(tmp_path))
    logger.log_metrics({"loss": 1.0}, 1)
    logger.log_metrics({"loss": 2.0}, 2)
    logger.save()
    assert len(rows_of(tmp_path)) == 2
