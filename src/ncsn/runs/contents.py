"""What a run's folder holds, read and checked, for the report."""

import csv
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ncsn.errors import DataError
from ncsn.files import read_yaml
from ncsn.images import opened
from ncsn.runs.likelihoods import BoundRecord, Likelihood, read_bounds, read_likelihoods
from ncsn.runs.reading import WAY_OUT, damaged, read_json_as

Node = dict[str, Any]
Series = list[tuple[float, float]]
"""Pairs (x, y)."""


@dataclass
class Distances:
    """Quartiles of distances to the nearest training image."""

    samples_to_training: tuple[float, float, float]
    held_out_to_training: tuple[float, float, float]


@dataclass
class Classes:
    """Classes that a classifier predicts for the samples."""

    shares: list[float]
    mean_confidence: float | None = None


@dataclass
class ByClass:
    """Scores of each class that samples were drawn for; see `ncsn.evaluation.by_class`."""

    classes: list[str]
    counts: list[int]
    accuracy: list[float] | None = None
    frechet: list[float | None] | None = None


@dataclass
class HeldOut:
    """Held-out loss by noise level; see `ncsn.evaluation.held_out`."""

    sigmas: list[float]
    twice_the_loss_per_dim: list[float]
    squared_score_per_dim: list[float]
    checkpoint: str | None = None


@dataclass
class Method:
    """What restored images, or the damaged images or originals themselves."""

    name: str
    scores: dict[str, float | None]
    network_evaluations: int | None = None


@dataclass
class Quality:
    """PSNR of each method in turn, but the originals, from a quality of JPEG to another."""

    quality: tuple[int, int]
    count: int
    psnr: list[float]


@dataclass
class Restoration:
    """Restored images by several methods; see `ncsn.evaluation.restoration`."""

    damage: str
    num_images: int
    samples_per_image: int
    methods: list[Method]
    by_quality: list[Quality] = field(default_factory=list)


@dataclass
class Evaluation:
    """`evaluation.json`: scores of a folder of samples, and what they depend on."""

    scores: dict[str, float | None]
    num_samples: int
    features: Node = field(default_factory=dict)
    settings: Node = field(default_factory=dict)
    reference: Node = field(default_factory=dict)
    checkpoint: Node | None = None
    sampler: Node | None = None
    denoise: bool | None = None
    network_evaluations: int | None = None
    seed: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    versions: Node = field(default_factory=dict)
    memorisation: dict[str, Distances] | None = None
    classes: Classes | None = None
    by_class: ByClass | None = None
    held_out: HeldOut | None = None
    held_out_against: HeldOut | None = None
    restoration: Restoration | None = None


@dataclass
class Samples:
    """A folder of samples."""

    path: Path
    settings: Node
    evaluation: Evaluation | None

    def picture(self, name: str) -> Path | None:
        """One of its pictures, if it is there."""
        path = self.path / name
        return path if path.is_file() else None


@dataclass
class CurvePoint:
    """Scores of one checkpoint."""

    step: int
    scores: dict[str, float | None]


@dataclass
class Curve:
    """`evaluation/curve.json`: scores by checkpoint, and the step of the best by the criterion."""

    criterion: str
    checkpoints: list[CurvePoint]
    best: int | None = None


@dataclass
class Result:
    """`result.json`: how the run ended."""

    status: str
    error: str | None = None
    overrides: Node = field(default_factory=dict)


@dataclass
class Contents:
    """What a run left behind; what is missing is empty or None."""

    path: Path
    config_text: str | None
    config: Node
    record: Node
    result: Result | None
    metrics: dict[str, Series]
    pictures: dict[int, Path]
    samples: list[Samples]
    likelihoods: list[Likelihood]
    bounds: list[BoundRecord]
    curve: Curve | None

    def node(self, key: str) -> Node:
        """A group of the configuration, such as `data`; empty if it has none of this name."""
        value: Any = self.config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value if isinstance(value, dict) else {}

    @classmethod
    def read(cls, path: Path) -> "Contents":
        """Reads everything but the pictures and checkpoints.

        Raises:
            DataError: there is no such folder, or one of its files is damaged.
        """
        if not path.is_dir():
            raise DataError(f"{path}: no such folder; give the folder of a run")
        config_text, config = _read_config(path / "config.yaml")
        run = cls(
            path=path,
            config_text=config_text,
            config=config,
            record=read_json_as(path / "run.json", Node) or {},
            result=read_json_as(path / "result.json", Result),
            metrics=_read_metrics(path / "metrics.csv"),
            pictures=_pictures(path / "pictures"),
            samples=read_samples(path / "samples"),
            likelihoods=read_likelihoods(path / "likelihood"),
            bounds=read_bounds(path / "bound"),
            curve=read_json_as(path / "evaluation" / "curve.json", Curve),
        )
        drawn = run.pictures or run.samples or run.likelihoods or run.bounds
        if not (run.config or run.record or run.result or run.metrics or drawn or run.curve):
            raise DataError(f"{path}: not a run's folder: none of config.yaml, metrics.csv, samples/… is in it")
        return run


def check_picture(path: Path) -> tuple[int, int]:
    """Width and height of a picture.

    Raises:
        DataError: it is damaged.
    """
    try:
        with opened(path) as image:
            size = image.size
            image.verify()
    except Exception as error:  # decoders fail in many ways on bytes that are not theirs
        raise damaged(path, error) from error
    return size


def read_samples(folder: Path) -> list[Samples]:
    """The folders of samples in one, in the order of their names.

    Raises:
        DataError: a file is damaged.
    """
    return [_read_samples(each) for each in sorted(folder.glob("*")) if each.is_dir()]


def _read_samples(folder: Path) -> Samples:
    settings = read_json_as(folder / "settings.json", Node) or {}
    return Samples(folder, settings, read_json_as(folder / "evaluation.json", Evaluation))


def _pictures(folder: Path) -> dict[int, Path]:
    """Pictures by step, in order."""
    found = {path.stem.removeprefix("step_"): path for path in folder.glob("step_*.png")}
    return {int(step): found[step] for step in sorted(found, key=lambda s: s.zfill(20)) if step.isdecimal()}


def _read_config(path: Path) -> tuple[str | None, Node]:
    if not path.is_file():
        return None, {}
    config = read_yaml(path, WAY_OUT) or {}
    if not isinstance(config, dict):
        raise damaged(path, f"a configuration was expected, not {type(config).__name__}")
    return path.read_text("utf-8"), config


def _read_metrics(path: Path) -> dict[str, Series]:
    """Metrics by name, (step, value); a last line that is still being written is left out."""
    if not path.is_file():
        return {}
    series: dict[str, Series] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = file.readlines()
        if lines and not lines[-1].endswith("\n"):
            lines.pop()
        rows = csv.reader(lines, strict=True)
        header = next(rows, [])
        for row in rows:
            if len(row) != len(header):
                raise ValueError(f"line {rows.line_num} has {len(row)} values, the first line {len(header)} names")
            values = dict(zip(header, row, strict=True))
            if not values["step"]:
                continue
            step = float(values.pop("step"))
            for name, value in values.items():
                if value:
                    series.setdefault(name, []).append((step, float(value)))
    except KeyError as error:
        raise damaged(path, "it has no column step") from error
    except (OSError, ValueError, csv.Error) as error:
        raise damaged(path, error) from error
    return {name: sorted(points, key=lambda point: point[0]) for name, points in series.items()}


def is_drawable(value: float | None) -> bool:
    """Whether it is a finite number."""
    return value is not None and math.isfinite(value)
