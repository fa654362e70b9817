"""Scores of a run's checkpoints, of which the best is kept track of, as the paper chose its own."""

import json
from pathlib import Path
from typing import Any

from ncsn.errors import DataError
from ncsn.files import digest, link, write_text
from ncsn.runs.folder import Run, step_of


class Curve:
    """`evaluation/curve.json` of a run, and the link `checkpoints/best.ckpt`.

    The criterion is the Fréchet distance, the lower the better. Scores of another criterion, say with more samples,
    or of samples drawn otherwise start a new curve; the one before is kept beside it under a longer name.
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
        if not curve.path.is_file():
            return curve
        try:
            record = json.loads(curve.path.read_text("utf-8"))
            curve.criterion, curve.settings = record["criterion"], record.get("settings", {})
            there = {path.name for path in run.checkpoints()}
            curve.checkpoints = [c for c in record["checkpoints"] if c["checkpoint"] in there]
            assert all(isinstance(c["scores"][curve.criterion], float | int) for c in curve.checkpoints)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
            raise DataError(f"{curve.path}: damaged; move it away, and checkpoints are scored anew") from error
        return curve

    def add(self, checkpoint: Path, scores: dict[str, float], settings: dict[str, Any]) -> bool:
        """Adds a checkpoint or replaces its scores.

        Args:
            checkpoint: step_0005000.ckpt.
            scores: one of them a Fréchet distance.
            settings: what the scores depend on beside the checkpoint, plain values.

        Returns:
            Whether it is the best now.
        """
        criterion = next(name for name in scores if name.startswith("fid_") or "_frechet_" in name)
        if (criterion, settings) != (self.criterion, self.settings):
            self._keep()
            self.criterion, self.settings, self.checkpoints = criterion, settings, []
        step = step_of(checkpoint) or 0
        entry = {"step": step, "checkpoint": checkpoint.name, "scores": scores}
        self.checkpoints = sorted(
            [c for c in self.checkpoints if c["step"] != step] + [entry], key=lambda c: c["step"]
        )
        record = {
            "criterion": criterion,
            "best": self.best["step"],
            "settings": settings,
            "checkpoints": self.checkpoints,
        }
        write_text(self.path, json.dumps(record, indent=2))
        self._link()
        return self.best is entry

    @property
    def best(self) -> dict[str, Any]:
        """The checkpoint with the least Fréchet distance."""
        return min(self.checkpoints, key=lambda c: c["scores"][self.criterion])

    def _keep(self) -> None:
        """Gives a curve of another kind a name of its own."""
        if self.path.is_file():
            self.path.rename(self.path.with_name(f"curve_{self.criterion}_{digest(self.settings)}.json"))

    def _link(self) -> None:
        link(self.run.checkpoint_folder / "best.ckpt", self.best["checkpoint"])

    def __str__(self) -> str:
        rows = [
            f"  {c['step']:>10}  {c['scores'][self.criterion]:.5g}{'  best' if c is self.best else ''}"
            for c in self.checkpoints
        ]
        return "\n".join(
            [f"        step  {self.criterion}", *rows, f"\n  {self.run.checkpoint_folder / 'best.ckpt'}"]
        )
