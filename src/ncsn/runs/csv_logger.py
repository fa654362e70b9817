"""Metrics as one CSV file that a resumed run goes on writing."""

import csv
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger as LightningCSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.loggers.logger import rank_zero_experiment


class _Writer(ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        """Lightning deletes an earlier file here; it is kept."""
        path = Path(self.metrics_file_path)
        if path.is_file():
            with path.open(newline="") as file:
                self.metrics_keys = list(next(csv.reader(file), []))
        self.fresh = True

    def log_metrics(self, metrics_dict: dict[str, float], step: int | None = None) -> None:
        if self.fresh and step is not None:
            self._drop_rows_from(step)
        self.fresh = False
        super().log_metrics(metrics_dict, step)

    def _drop_rows_from(self, step: int) -> None:
        """A run that continues from a checkpoint repeats the steps that came after it."""
        path = Path(self.metrics_file_path)
        if not path.is_file():
            return
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        partial = path.with_name(f".{path.name}")
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.metrics_keys)
            writer.writeheader()
            writer.writerows(row for row in rows if int(row["step"] or step) < step)  # a row cut short has none
        partial.replace(path)


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

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The run's folder holds the configuration already."""

    def save(self) -> None:
        self.experiment.save()
