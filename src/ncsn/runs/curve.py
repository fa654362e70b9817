"""Scores of a run's checkpoints, of which the best is kept track of, as the paper chose its own."""

import json
from pathlib import Path
from typing import Any

from ncsn.errors import DataError
from ncsn.files import digest, link, one_process_at_a_time, read_json, write_text
from ncsn.runs.folder import Run, step_of


class Curve:
    """`evaluation/curve.json` of a run, and the link `checkpoints/best.ckpt`.

    The criterion is the Fréchet distance, or without one bits per dimension or their bound, the lower the better.
    Scores of another criterion, say with more samples, or of samples drawn otherwise start a new curve; the one
    before is kept beside it under a longer name.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.path = run, run.curve
        self.criterion: str | None = None
        self.settings: dict[str, Any] = {}
        self.checkpoints: list[dict[str, Any]] = []

    @classmethod
    def read(cls, run: Run) -> "Curve":
        """The curve of a run as it was left, without checkpoints that have been deleted; empty if there is none.

        Raises:
            DataError: the file is damaged.
        """
        curve = cls(run)
        curve._load(curve.path)
        return curve

    def add(self, checkpoint: Path, scores: dict[str, float], settings: dict[str, Any]) -> bool:
        """Adds a checkpoint, or replaces its scores, in the curve as it is on disk now.

        Args:
            checkpoint: step_0005000.ckpt.
            scores: one of them a Fréchet distance, bits per dimension or their bound.
            settings: what the scores depend on beside the checkpoint, plain values.

        Returns:
            Whether it is the best now.

        Raises:
            DataError: the file is damaged.
        """
        distances = (name for name in scores if name.startswith("fid_") or "_frechet_" in name)
        bits = (name for kind in ("bits_per_dim_", "elbo_bits_per_dim_") for name in scores if name.startswith(kind))
        criterion = next(distances, None) or next(bits)
        with one_process_at_a_time(self.path):
            self._load(self.path)
            if (criterion, settings) != (self.criterion, self.settings):
                if self.path.is_file():
                    self.path.rename(self._kept_as())
                self.criterion, self.settings, self.checkpoints = criterion, settings, []
                self._load(self._kept_as())  # of the last time that this was asked for
            step = step_of(checkpoint) or 0
            entry = {"step": step, "checkpoint": checkpoint.name, "scores": scores}
            others = [c for c in self.checkpoints if c["step"] != step]
            self.checkpoints = sorted([*others, entry], key=lambda c: c["step"])
            record = {
                "criterion": criterion,
                "best": self.best["step"],
                "settings": settings,
                "checkpoints": self.checkpoints,
            }
            write_text(self.path, json.dumps(record, indent=2))
            link(self.run.checkpoint_folder / "best.ckpt", self.best["checkpoint"])
        return self.best is entry

    @property
    def best(self) -> dict[str, Any]:
        """The checkpoint whose criterion is the least."""
        return min(self.checkpoints, key=lambda c: c["scores"][self.criterion])

    def _load(self, path: Path) -> None:
        if not path.is_file():
            return
        try:
            record = read_json(path)
            self.criterion, self.settings = record["criterion"], record.get("settings", {})
            there = {path.name for path in self.run.checkpoints()}
            self.checkpoints = [c for c in record["checkpoints"] if c["checkpoint"] in there]
            assert all(isinstance(c["scores"][self.criterion], float | int) for c in self.checkpoints)
        except (DataError, KeyError, TypeError, AttributeError, AssertionError) as error:
            raise DataError(f"{path}: damaged; move it away, and checkpoints are scored anew") from error

    def _kept_as(self) -> Path:
        """Where a curve waits while there is another."""
        return self.path.with_name(f"curve_{self.criterion}_{digest(self.settings)}.json")

    def __str__(self) -> str:
        rows = [
            f"  {c['step']:>10}  {c['scores'][self.criterion]:.5g}{'  best' if c is self.best else ''}"
            for c in self.checkpoints
        ]
        return "\n".join(
            [f"        step  {self.criterion}", *rows, f"\n  {self.run.checkpoint_folder / 'best.ckpt'}"]
        )
