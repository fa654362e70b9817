"""What one number does not tell: nearest training images, held-out loss by noise level, share of each class."""

from typing import NamedTuple

from ncsn.report.charts import FIRST, SECOND, THIRD, Chart, Line, bar_chart, line_chart, range_chart
from ncsn.report.elements import Heading, Picture, heading_of, picture_of
from ncsn.report.numbers import in_digits, in_percent, in_words
from ncsn.report.training import SIGMA
from ncsn.runs.contents import Contents, Evaluation, Samples

MOST_NAMES = 40  # of classes, in a note


class Diagnosed(NamedTuple):
    """A folder of samples, with a picture and charts."""

    heading: Heading
    picture: Picture | None
    charts: list[Chart]


def neighbours(run: Contents) -> list[Diagnosed] | None:
    """Nearest training images, and distances to them."""
    folders = [_neighbours(folder) for folder in run.samples]
    return [folder for folder in folders if folder.picture or folder.charts] or None


def diagnostics(run: Contents) -> list[Diagnosed] | None:
    """Held-out loss by noise level, class balance, and scores by class."""
    folders = []
    for folder in run.samples:
        if evaluation := folder.evaluation:
            charts = (
                _held_out_chart(evaluation),
                _comparison_chart(evaluation),
                _classes_chart(evaluation),
                *_by_class_charts(evaluation),
            )
            folders.append(Diagnosed(heading_of(folder), None, [chart for chart in charts if chart is not None]))
    return [folder for folder in folders if folder.charts] or None


def _neighbours(folder: Samples) -> Diagnosed:
    path = folder.picture("neighbours.png")
    caption = (
        "each row: a sample and the training images nearest to it in pixel space, then the same sample and the ones "
        "nearest in feature space"
    )
    distances = (folder.evaluation.memorisation if folder.evaluation else None) or {}
    note = "First quartile, median and third quartile."
    charts = [range_chart(f"Distances in {name.replace('_', ' ')}", d, note) for name, d in distances.items()]
    return Diagnosed(
        heading_of(folder),
        picture_of(path, caption) if path else None,
        [chart for chart in charts if chart is not None],
    )


def _held_out_chart(evaluation: Evaluation) -> Chart | None:
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
    note = (
        "For the true score the sum is 1 at every level. Above 1, the network's score is too large; below, too small."
    )
    title = "Held-out loss and score by noise level"
    return line_chart(title, lines, SIGMA, log_x=True, include_zero=True, level=1.0, note=note)


def _comparison_chart(evaluation: Evaluation) -> Chart | None:
    """The held-out loss beside that of another checkpoint."""
    own, other = evaluation.held_out, evaluation.held_out_against
    if own is None or other is None:
        return None
    lines = [
        Line(name, list(zip(levels.sigmas, levels.twice_the_loss_per_dim, strict=False)), colour, dots=True)
        for name, levels, colour in (("this checkpoint", own, FIRST), ("the other", other, SECOND))
    ]
    note = "Both on the same images with the same noise."
    if other.checkpoint:
        note += f" The other checkpoint: {other.checkpoint}."
    return line_chart("2 × held-out loss of two checkpoints", lines, SIGMA, log_x=True, include_zero=True, note=note)


def _classes_chart(evaluation: Evaluation) -> Chart | None:
    if (classes := evaluation.classes) is None or not classes.shares:
        return None
    even = 1 / len(classes.shares)
    network = in_words(evaluation.features.get("name"))
    note = f"Classes as predicted by {network}. Dotted: {in_percent(even)}, equal shares."
    if classes.mean_confidence is not None:
        note += f" Mean confidence {in_percent(classes.mean_confidence)}."
    return bar_chart("Share of each class", classes.shares, "class", even, note)


def _by_class_charts(evaluation: Evaluation) -> list[Chart | None]:
    """Accuracy and Fréchet distance of each class that samples were drawn for."""
    if (found := evaluation.by_class) is None or len(found.classes) < 2:
        return []
    shown = ", ".join(found.classes[:MOST_NAMES]) + (" …" if len(found.classes) > MOST_NAMES else "")
    charts = []
    for title, values in (
        ("Samples classified as their label", found.accuracy),
        ("Fréchet distance by class", found.frechet),
    ):
        known = [value for value in values or [] if value is not None]
        if values and len(known) == len(values):
            mean = sum(known) / len(known)
            note = f"Classes, in order: {shown}. Dotted: {in_digits(mean)}, the mean."
            charts.append(bar_chart(title, known, "class", mean, note))
    return charts
