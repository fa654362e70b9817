"""Scores of a run's checkpoints, of which the best is kept track of, as the paper chose its own."""

import json
from pathlib import Path
from typing import Any

from ncsn.files import write_text


class Curve:
    """`<run>/evaluation/curve.json` and the link `<run>/checkpoints/best.ckpt`.

    The criterion is the Fréchet distance, the lower the better. Scores of another criterion, say with more samples or
    other features, start the curve anew; `evaluation.json` beside the samples keeps every one.

    Args:
        run: the run's folder.
    """

    def __init__(self, run: Path) -> None:
        self.run, self.path = run, run / "evaluation" / "curve.json"
        self.criterion: str | None = None
        self.checkpoints: list[dict[str, Any]] = []

    @classmethod
    def read(cls, run: Path) -> "Curve":
        """The curve of a run as it was left, empty if there is none."""
        curve = cls(run)
        if curve.path.is_file():
            record = json.loads(curve.path.read_text())
            curve.criterion, curve.checkpoints = record["criterion"], record["checkpoints"]
        return curve

    def add(self, checkpoint: Path, scores: dict[str, float]) -> bool:
        """Adds a checkpoint, step_0005000.ckpt, or replaces its scores; returns whether it is the best now."""
        criterion = next(name for name in scores if name.startswith("fid_") or "_frechet_" in name)
        if criterion != self.criterion:
            self.criterion, self.checkpoints = criterion, []
        step = int(checkpoint.stem.rpartition("_")[2])
        entry = {"step": step, "checkpoint": checkpoint.name, "scores": scores}
        self.checkpoints = sorted(
            [c for c in self.checkpoints if c["step"] != step] + [entry], key=lambda c: c["step"]
        )
        record = {"criterion": criterion, "best": self.best["step"], "checkpoints": self.checkpoints}
        write_text(self.path, json.dumps(record, indent=2))
        self._link()
        return self.best is entry

    @property
    def best(self) -> dict[str, Any]:
        """The checkpoint with the least Fréchet distance."""
        return min(self.checkpoints, key=lambda c: c["scores"][self.criterion])

    def _link(self) -> None:
        link = self.run / "checkpoints" / "best.ckpt"
        link.unlink(missing_ok=True)
        link.symlink_to(self.best["checkpoint"])

    def __str__(self) -> str:
        rows = [
            f"  {c['step']:>10}  {c['scores'][self.criterion]:.5g}{'  best' if c is self.best else ''}"
            for c in self.checkpoints
        ]
        return "\n".join([f"        step  {self.criterion}", *rows, f"\n  {self.run / 'checkpoints' / 'best.ckpt'}"])
