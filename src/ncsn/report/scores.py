"""What the report says of samples that were scored, and of checkpoints that were compared."""

from collections.abc import Sequence
from pathlib import Path

from ncsn.report.charts import Line, bar_chart, line_chart, range_chart
from ncsn.report.elements import (
    FIRST,
    NO_VALUE,
    SECOND,
    THIRD,
    Fact,
    Section,
    checksum_of,
    facts_list,
    in_percent,
    picture_of,
    table_of,
)
from ncsn.report.markup import Content, Markup, join, tag
from ncsn.report.numbers import in_digits, in_words, node_in_words, node_name
from ncsn.report.published import PUBLISHED, Row, Table
from ncsn.report.samples import WEIGHTS, heading_of, short_name
from ncsn.report.training import STEP
from ncsn.runs.contents import Evaluation, RunFolder, Samples, is_drawable

SCORES = {
    "fid": "FID",
    "is": "Inception score",
    "kid": "KID",
    "frechet": "Fréchet distance",
    "score": "Score as Inception's",
    "precision": "Precision",
    "recall": "Recall",
}


def scores(run: RunFolder) -> Section | None:
    """Scores with all that they depend on, and the published ones."""
    evaluated = _evaluated(run)
    if not evaluated:
        return None
    content: list[Content] = []
    for folder, evaluation in evaluated:
        protocol = facts_list(_protocol(folder, evaluation))
        content.append(heading_of(folder))
        content.append(tag("div", _table_of_scores(evaluation), protocol, class_="beside"))
    published = PUBLISHED.get(node_name(run.node("data")))
    if published:
        content.append(_beside_the_published(run, evaluated, published))
    return Section("scores", "Scores", content)


def _evaluated(run: RunFolder) -> list[tuple[Samples, Evaluation]]:
    return [(folder, folder.evaluation) for folder in run.samples if folder.evaluation]


def _table_of_scores(evaluation: Evaluation) -> Markup:
    rows = []
    for name, value in evaluation.scores.items():
        if name.endswith("_std") and name.removesuffix("_std") in evaluation.scores:
            continue
        label = [_score_in_words(name), " ", tag("code", name)]
        rows.append([label, _with_deviation(evaluation.scores, name) if value is not None else NO_VALUE])
    return table_of(["Score", "Value"], [rows], numeric={1})


def _score_in_words(name: str) -> str:
    """`classifier_frechet_50k` is the Fréchet distance by the features of a classifier."""
    parts = name.split("_")
    kind = next((part for part in parts if part in SCORES), None)
    if kind is None:
        return name
    network = " ".join(parts[: parts.index(kind)])
    return f"{SCORES[kind]}, {network}" if network else SCORES[kind]


def _with_deviation(values: dict[str, float | None], name: str) -> str:
    value, deviation = values[name], values.get(f"{name}_std")
    assert value is not None
    return in_digits(value) + (f" ± {in_digits(deviation, digits=2)}" if deviation is not None else "")


def _protocol(folder: Samples, evaluation: Evaluation) -> list[Fact]:
    features, checkpoint = evaluation.features, evaluation.checkpoint or {}
    network: list[Content] = [in_words(features.get("name")), checksum_of(features.get("checksum"))]
    found: list[Fact] = [("Samples", in_digits(evaluation.num_samples)), ("Feature network", network)]
    if "accuracy" in features:
        found.append(("Its accuracy", in_percent(features["accuracy"])))
    if "published_weights" in features:
        found.append(("Published weights", in_words(features["published_weights"])))
    hidden = ("files", "format", "root")
    reference = {key: value for key, value in evaluation.reference.items() if key not in hidden}
    if reference:
        found.append(("Reference", in_words(reference)))
    if checkpoint:
        name = Path(str(checkpoint.get("path", ""))).name
        found.append(("Checkpoint", [name, checksum_of(checkpoint.get("sha256"))]))
        weights = str(checkpoint.get("weights"))
        found.append(("Weights", WEIGHTS.get(weights, weights)))
    if evaluation.sampler:
        found.append(("Sampler", node_in_words(evaluation.sampler, hidden=("denoise",))))
    found.append(("Denoising step", "unknown" if evaluation.denoise is None else in_words(evaluation.denoise)))
    if evaluation.network_evaluations is not None:
        found.append(("Network evaluations an image", in_digits(evaluation.network_evaluations)))
    if evaluation.seed is not None:
        found.append(("Seed", in_words(evaluation.seed)))
    if evaluation.settings:
        found.append(("Settings of the scores", in_words(evaluation.settings)))
    if evaluation.seconds:
        seconds = {name: round(value, 1) for name, value in evaluation.seconds.items() if is_drawable(value)}
        found.append(("Seconds", in_words(seconds)))
    if evaluation.versions:
        found.append(("Versions", in_words(evaluation.versions).replace(", ", " · ")))
    return found


def _beside_the_published(run: RunFolder, evaluated: Sequence[tuple[Samples, Evaluation]], table: Table) -> Markup:
    ours = [_row_of(run, folder, e, table) for folder, e in evaluated if e.features.get("name") == "inception"]
    theirs = [_row_of_published(row) for row in table.rows]
    heads = ["", "Inception score", "FID", "Network evaluations", "Source, protocol"]
    groups = {"This run": ours, "Published, on 50,000 samples": theirs}
    shown = {name: rows for name, rows in groups.items() if rows}
    note = (
        "Figures compare only where the protocol agrees: 50,000 samples, Inception with the published weights, "
        "images resized as TensorFlow 1 did it (bilinear, not antialiased), the training images as the reference. "
        "Fewer samples give a higher FID for the same network, and a denoising step changes it a lot."
    )
    if not ours:
        note += " This run has no scores by Inception's features, so that none of its figures compares with these."
    body = table_of(heads, list(shown.values()), numeric={1, 2, 3}, names=list(shown))
    return join([tag("h3", f"Beside the published scores: {table.title}"), body, tag("p", note, class_="note")])


def _row_of(run: RunFolder, folder: Samples, evaluation: Evaluation, table: Table) -> list[Content]:
    def figure(kind: str) -> str:
        name = next((n for n in evaluation.scores if n.startswith(f"{kind}_") and not n.endswith("_std")), None)
        if name is None or evaluation.scores[name] is None:
            return NO_VALUE
        return _with_deviation(evaluation.scores, name)

    name = short_name(folder) + (", denoised" if evaluation.denoise else "")
    evaluations = evaluation.network_evaluations
    count = NO_VALUE if evaluations is None else in_digits(evaluations)
    differences = _differences(run, evaluation, table)
    protocol = f"differs: {', '.join(differences)}" if differences else "the same"
    return [name, figure("is"), figure("fid"), count, protocol]


def _differences(run: RunFolder, evaluation: Evaluation, table: Table) -> list[str]:
    """What in the protocol of a run's scores is not that of the published ones."""
    size, split = run.node("data").get("image_size"), evaluation.reference.get("split")
    found = []
    if evaluation.num_samples != 50_000:
        found.append(f"{in_digits(evaluation.num_samples)} samples")
    if not evaluation.features.get("published_weights", True):
        found.append("other weights of Inception")
    if size != table.image_size:
        found.append(f"images of {size} × {size}")
    if split != "train":
        found.append(f"reference {split}" if split else "another reference")
    return found


def _row_of_published(row: Row) -> list[Content]:
    source = tag("a", row.source.citation, href=row.source.url, rel="noreferrer")
    count = NO_VALUE if row.evaluations is None else in_digits(row.evaluations)
    return [row.name, row.inception_score or NO_VALUE, row.fid, count, source]


def checkpoints(run: RunFolder) -> Section | None:
    """The criterion by checkpoint."""
    if run.curve is None:
        return None
    criterion, best = run.curve.criterion, run.curve.best
    points = sorted(
        (float(point.step), value)
        for point in run.curve.checkpoints
        if (value := point.scores.get(criterion)) is not None
    )
    marked = next((point for point in points if point[0] == best), None)
    note = f"Marked: the best, step {in_digits(marked[0])}." if marked else None
    title = f"{_score_in_words(criterion)} by checkpoint"
    line = Line(criterion, points, FIRST, dots=len(points) <= 60)
    chart = line_chart(title, [line], STEP, log_y=None, marked=marked, note=note)
    if chart is None:
        return None
    table = None
    if marked is not None:
        others = next(point.scores for point in run.curve.checkpoints if point.step == best)
        rows: list[Sequence[Content]] = [
            [[_score_in_words(name), " ", tag("code", name)], _with_deviation(others, name)]
            for name, value in others.items()
            if value is not None and not (name.endswith("_std") and name.removesuffix("_std") in others)
        ]
        table = table_of([f"Best checkpoint: step {in_digits(marked[0])}", "Value"], [rows], numeric={1})
    return Section("checkpoints", "Checkpoints", tag("div", chart, table, class_="beside"))


def neighbours(run: RunFolder) -> Section | None:
    """Nearest training images, and distances to them."""
    content: list[Content] = []
    for folder in run.samples:
        picture = folder.picture("neighbours.png")
        distances = (folder.evaluation.memorisation if folder.evaluation else None) or {}
        note = "First quartile, median and third quartile."
        charts = [
            chart
            for name, value in distances.items()
            if (chart := range_chart(f"Distances in {name.replace('_', ' ')}", value, note)) is not None
        ]
        if not picture and not charts:
            continue
        content.append(heading_of(folder))
        if picture:
            caption = "each row: a sample and the training images nearest to it in pixels, then the same in features"
            content.append(picture_of(picture, caption, class_="strip"))
        if charts:
            content.append(tag("div", charts, class_="charts"))
            words = (
                "Samples of a network that has learned its training images by heart lie nearer to them than held-out "
                "images do."
            )
            content.append(tag("p", words, class_="note"))
    return Section("neighbours", "Nearest training images", content) if content else None


def beyond(run: RunFolder) -> Section | None:
    """Class balance, and the held-out loss by noise level."""
    content: list[Content] = []
    for folder, evaluation in _evaluated(run):
        charts = [_held_out_chart(evaluation), _comparison_chart(evaluation), _classes_chart(evaluation)]
        drawn = [chart for chart in charts if chart is not None]
        if drawn:
            content += [heading_of(folder), tag("div", drawn, class_="charts")]
    return Section("beyond", "Beyond one number", content) if content else None


def _held_out_chart(evaluation: Evaluation) -> Markup | None:
    if (levels := evaluation.held_out) is None:
        return None
    loss = list(zip(levels.sigmas, levels.twice_the_loss_per_dim, strict=False))
    size = list(zip(levels.sigmas, levels.squared_score_per_dim, strict=False))
    both = [(sigma, a + b) for (sigma, a), (_, b) in zip(loss, size, strict=False)]
    lines = [
        Line("2 × loss", loss, FIRST, dots=True),
        Line("‖σ s‖²", size, SECOND, dots=True),
        Line("sum", both, THIRD, dashed=True),
    ]
    note = "Of a perfect score the two add up to 1 at every level; above, it says more than it knows, below, less."
    title = "Held-out loss and score by noise level"
    return line_chart(title, lines, "noise level σ", log_x=True, include_zero=True, level=1.0, note=note)


def _comparison_chart(evaluation: Evaluation) -> Markup | None:
    """The held-out loss beside that of another checkpoint."""
    ours, theirs = evaluation.held_out, evaluation.held_out_against
    if ours is None or theirs is None:
        return None
    lines = [
        Line(name, list(zip(levels.sigmas, levels.twice_the_loss_per_dim, strict=False)), colour, dots=True)
        for name, levels, colour in (("this checkpoint", ours, FIRST), ("the other", theirs, SECOND))
    ]
    note = "On the same images with the same noise."
    if theirs.checkpoint:
        note += f" The other: {theirs.checkpoint}."
    return line_chart(
        "Twice the loss of two checkpoints", lines, "noise level σ", log_x=True, include_zero=True, note=note
    )


def _classes_chart(evaluation: Evaluation) -> Markup | None:
    if (classes := evaluation.classes) is None or not classes.shares:
        return None
    network, even = in_words(evaluation.features.get("name")), 1 / len(classes.shares)
    note = f"What {network} takes the samples for; the line: {in_percent(even)}, all alike."
    if classes.mean_confidence is not None:
        note += f" Mean confidence {in_percent(classes.mean_confidence)}."
    return bar_chart("Share of each class", classes.shares, "class", even, note)
