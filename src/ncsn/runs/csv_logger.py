"""Metrics as one CSV file that a resumed run goes on writing."""

import csv
import io
import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger as LightningCSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.loggers.logger import rank_zero_experiment

from ncsn.files import write_text

log = logging.getLogger(__name__)


class _Writer(ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        """Lightning deletes an earlier file here; it is kept."""
        self.metrics_keys = self._read()[0]
        self.fresh = True

    def log_metrics(self, metrics_dict: dict[str, float], step: int | None = None) -> None:
        if self.fresh and step is not None:
            self.keep_until(step, but=metrics_dict)
        super().log_metrics(metrics_dict, step)

    def keep_until(self, step: int, but: Collection[str] = ()) -> list[dict[str, str]]:
        """Drops what a run that continues from its checkpoint repeats; returns the other rows.

        Args:
            step: the last whose rows are kept.
            but: columns; of that step, rows that have a value in one of them are dropped as well.
        """
        self.fresh = False
        keys, rows = self._read()
        repeated = set(but) - {"step"}
        kept = [row for row in rows if int(row["step"]) < step]
        kept += [row for row in rows if int(row["step"]) == step and not any(row.get(key) for key in repeated)]
        if keys:
            text = io.StringIO()
            writer = csv.DictWriter(text, keys)
            writer.writeheader()
            writer.writerows(kept)
            write_text(Path(self.metrics_file_path), text.getvalue())
        return kept

    def _read(self) -> tuple[list[str], list[dict[str, str]]]:
        """Columns and whole rows; what is no such file is moved away, and another begins."""
        path = Path(self.metrics_file_path)
        if not path.is_file():
            return [], []
        try:
            lines = path.read_bytes().decode().splitlines(keepends=True)
            reader = csv.DictReader(line for line in lines if line.endswith("\n"))  # the last may be cut short
            rows = [row for row in reader if None not in row and None not in row.values()]
            keys = list(reader.fieldnames or [])
            if (keys and "step" not in keys) or not all(row["step"].isdecimal() for row in rows):
                raise ValueError("not every row has a step")
        except (ValueError, csv.Error) as error:
            aside = path.with_name("metrics_damaged.csv")
            log.warning(f"{path}: damaged ({' '.join(str(error).split())}); kept as {aside.name}, and begun anew")
            path.replace(aside)
            return [], []
        return keys, rows


class CSVLogger(LightningCSVLogger):
    """Writes `<save_dir>/metrics.csv`, one row per logged step."""

    def __init__(self, save_dir: str, flush_logs_every_n_steps: int = 1) -> None:
        super().__init__(save_dir, name="", version="", flush_logs_every_n_steps=flush_logs_every_n_steps)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            Path(self.log_dir).mkdir(parents=True, exist_ok=True)
            self._experiment = _Writer(self.log_dir)
        return self._experiment

    def go_on_after(self, step: int) -> set[str]:
        """Drops the rows after a step, and tells which columns have a value at it; on the first process alone."""
        rows: list[dict[str, str]] = self.experiment.keep_until(step) or []
        return {key for row in rows if int(row["step"]) == step for key, value in row.items() if value}

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The run's folder holds the configuration already."""

    def save(self) -> None:
        self.experiment.save()
