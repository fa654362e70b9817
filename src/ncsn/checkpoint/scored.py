"""What was drawn from a checkpoint and scored, where `sample` and `evaluate` have put it: for its model card."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncsn.checkpoint.reading import place_of
from ncsn.files import sha256
from ncsn.runs.contents import Evaluation, Samples, check_picture, read_samples
from ncsn.runs.folder import Run
from ncsn.runs.likelihoods import read_likelihoods

if TYPE_CHECKING:
    from ncsn.checkpoint.score import TrainedScore


@dataclass(frozen=True)
class Drawn:
    """What is known of a checkpoint's samples.

    Attributes:
        evaluations: scores of its samples.
        bits: bits per dimension, by the names of the scores.
        picture: the first of the samples side by side, if there are any.
    """

    evaluations: list[Evaluation]
    bits: dict[str, float]
    picture: Path | None

    @classmethod
    def of(cls, checkpoint: Path, score: "TrainedScore") -> "Drawn":
        """What lies beside a checkpoint, of exactly this file and these weights.

        Raises:
            DataError: a record or a picture is damaged.
        """
        run = Run.of(checkpoint)
        place = place_of(checkpoint).absolute().parent if run is None else run.path
        identity = (sha256(checkpoint), score.weights)

        def is_of(record: dict[str, Any]) -> bool:
            return (record.get("sha256"), record.get("weights")) == identity

        folders = [folder for folder in read_samples(place / "samples") if is_of(folder.settings)]
        likelihoods = [one.record for one in read_likelihoods(place / "likelihood") if is_of(one.record.checkpoint)]
        pictures = [path for folder in _best_last(folders) if (path := folder.picture("grid.png"))]
        if pictures:
            check_picture(pictures[-1])
        return cls(
            [folder.evaluation for folder in folders if folder.evaluation and not folder.evaluation.restoration],
            {
                name: x
                for one in likelihoods
                for name, x in one.scores.items()
                if math.isfinite(x) and name.isidentifier()
            },
            pictures[-1] if pictures else None,
        )


NOTHING = Drawn([], {}, None)


def _best_last(folders: list[Samples]) -> list[Samples]:
    """Those drawn from nothing after others, and of these those with scores; the newest last."""

    def rank(folder: Samples) -> tuple[bool, bool, float]:
        target = str((folder.settings.get("task") or {}).get("_target_"))
        return target.endswith(".Generate"), folder.evaluation is not None, folder.path.stat().st_mtime

    return sorted(folders, key=rank)
