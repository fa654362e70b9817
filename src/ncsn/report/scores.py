"""Scores of samples with all that they depend on, beside published ones, and scores by checkpoint."""

from pathlib import Path
from typing import NamedTuple

from ncsn.report.charts import FIRST, Chart, Line, line_chart
from ncsn.report.elements import Fact, Heading, checksum_of, heading_of, known, setting, weights_in_words
from ncsn.report.numbers import in_digits, in_percent, in_words, node_in_words, node_name
from ncsn.report.published import PUBLISHED, Table
from ncsn.runs.contents import Contents, Evaluation, Samples, is_drawable
from ncsn.runs.score_names import label


class Score(NamedTuple):
    """A score in words, its name in the file, and its value with the standard deviation; empty if it has none."""

    label: str
    name: str
    value: str


class Scored(NamedTuple):
    """A folder of samples: its scores, and what they depend on."""

    heading: Heading
    scores: list[Score]
    protocol: list[Fact]


class OwnRow(NamedTuple):
    """A run's row beside the published ones, and what in its protocol differs from theirs."""

    name: str
    inception_score: str
    fid: str
    evaluations: int | None
    differences: list[str]


class Scores(NamedTuple):
    """Scores by folder of samples; published ones on the same data, if there are any, with the run's rows beside."""

    folders: list[Scored]
    published: Table | None
    own: list[OwnRow]


class Checkpoints(NamedTuple):
    """The criterion by checkpoint, and all scores of the best one."""

    chart: Chart
    best: int | None
    scores: list[Score]


def scores(run: Contents) -> Scores | None:
    evaluated = [(f, f.evaluation) for f in run.samples if f.evaluation and f.evaluation.restoration is None]
    data = run.node("data")
    published = PUBLISHED.get(f"{node_name(data)} {data.get('category') or ''}".strip())
    folders = [Scored(heading_of(folder), _scores(e.scores), protocol(e)) for folder, e in evaluated]
    by_inception = [(folder, e) for folder, e in evaluated if e.features.get("name") == "inception"]
    own = [_own_row(run, folder, e, published) for folder, e in by_inception] if published else []
    return Scores(folders, published, own) if folders else None


def checkpoints(run: Contents) -> Checkpoints | None:
    if (curve := run.curve) is None:
        return None
    values = [(float(point.step), point.scores.get(curve.criterion)) for point in curve.checkpoints]
    points = sorted((step, value) for step, value in values if value is not None)
    marked = next((point for point in points if point[0] == curve.best), None)
    title = f"{label(curve.criterion)} by checkpoint"
    line = Line(curve.criterion, points, FIRST, dots=len(points) <= 60)
    note = f"Circled: the best checkpoint, step {in_digits(marked[0])}." if marked else ""
    chart = line_chart(title, [line], "step", log_y=True, marked=marked, note=note)
    if chart is None:
        return None
    if marked is None:
        return Checkpoints(chart, None, [])
    best = next(point for point in curve.checkpoints if point.step == curve.best)
    return Checkpoints(chart, best.step, _scores(best.scores))


def _scores(values: dict[str, float | None]) -> list[Score]:
    """All but the standard deviations, which stand beside what they belong to."""
    names = [name for name in values if not (name.endswith("_std") and name.removesuffix("_std") in values)]
    return [Score(label(name), name, _with_deviation(values, name)) for name in names]


def _with_deviation(values: dict[str, float | None], name: str) -> str:
    value, deviation = values[name], values.get(f"{name}_std")
    if value is None:
        return ""
    return in_digits(value) + (f" ± {in_digits(deviation, digits=2)}" if deviation is not None else "")


def protocol(evaluation: Evaluation) -> list[Fact]:
    """What scores depend on."""
    features, checkpoint = evaluation.features, evaluation.checkpoint or {}
    reference = {k: v for k, v in evaluation.reference.items() if k not in ("files", "format", "root")}
    path, evaluations = Path(str(checkpoint.get("path", ""))), evaluation.network_evaluations
    seconds = {name: round(value, 1) for name, value in evaluation.seconds.items() if is_drawable(value)}
    return known(
        [
            Fact("Samples", in_digits(evaluation.num_samples)),
            Fact("Feature network", in_words(features.get("name")), checksum=checksum_of(features.get("checksum"))),
            setting("Classifier accuracy", features, "accuracy", in_percent),
            setting("Published weights", features, "published_weights"),
            Fact("Reference", in_words(reference)),
            Fact("Checkpoint", path.name, checksum=checksum_of(checkpoint.get("sha256"))),
            setting("Weights", checkpoint, "weights", weights_in_words),
            Fact("Sampler", node_in_words(evaluation.sampler or {}, hidden=("denoise",))),
            Fact("Denoising step", "unknown" if evaluation.denoise is None else in_words(evaluation.denoise)),
            Fact("Network evaluations per image", "" if evaluations is None else in_digits(evaluations)),
            Fact("Seed", "" if evaluation.seed is None else in_words(evaluation.seed)),
            Fact("Score settings", in_words(evaluation.settings)),
            Fact("Seconds", in_words(seconds)),
            Fact("Versions", in_words(evaluation.versions).replace(", ", " · ")),
        ]
    )


def _own_row(run: Contents, folder: Samples, evaluation: Evaluation, published: Table) -> OwnRow:
    shown = {score.name.split("_")[0]: score.value for score in reversed(_scores(evaluation.scores))}
    return OwnRow(
        name=heading_of(folder).title + (", denoised" if evaluation.denoise else ""),
        inception_score=shown.get("is", ""),
        fid=shown.get("fid", ""),
        evaluations=evaluation.network_evaluations,
        differences=_differences(run, evaluation, published),
    )


def _differences(run: Contents, evaluation: Evaluation, published: Table) -> list[str]:
    """What in the protocol of a run's scores is not that of the published ones."""
    size, split = run.node("data").get("image_size"), evaluation.reference.get("split")
    found = {
        f"{in_digits(evaluation.num_samples)} samples": evaluation.num_samples != 50_000,
        "other weights of Inception": not evaluation.features.get("published_weights", True),
        f"images of {size} × {size}": size != published.image_size,
        f"reference {split}" if split else "another reference": split != "train",
    }
    return [difference for difference, holds in found.items() if holds]
