"""Bits per dimension under the networks of a run, and their bounds: of held-out images, and of others beside them."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from ncsn.report.charts import Chart, Line, bar_chart, level_colours, line_chart
from ncsn.report.elements import Fact, Heading, as_node, checksum_of, known, setting, weights_in_words
from ncsn.report.numbers import in_digits, in_words, node_in_words
from ncsn.runs.contents import Contents
from ncsn.runs.likelihoods import Bits, BoundRecord, Likelihood, LikelihoodRecord

BINS = 60
LOG_FROM = 4.0  # the largest value over the least from which on the axis is logarithmic


class Row(NamedTuple):
    """A set of images, and its numbers as text, empty where it has none."""

    name: str
    values: list[str]


class Found(NamedTuple):
    """What the network of a checkpoint finds of several sets of images."""

    heading: Heading
    columns: list[str]
    rows: list[Row]
    charts: list[Chart]
    protocol: list[Fact]


def likelihood(run: Contents) -> list[Found] | None:
    """Likelihoods by checkpoint and protocol; the held-out images of the network's own data set come first."""
    groups: dict[str, list[Likelihood]] = {}
    for found in run.likelihoods:
        protocol = found.record.protocol
        key = repr([protocol.get(name) for name in sorted(protocol) if name not in ("images", "batch_size")])
        groups.setdefault(key, []).append(found)
    bounds = [_bound(record) for record in run.bounds]
    return [*(_found(sorted(group, key=_place)) for group in groups.values()), *bounds] or None


def _place(found: Likelihood) -> tuple[int, float]:
    protocol = found.record.protocol
    images, prior = as_node(protocol.get("images")), as_node(protocol.get("prior"))
    own = images.get("split") == "val" and images.get("files") == prior.get("files") and "control" not in images
    return 0 if own else 1, found.record.mean


def _found(group: list[Likelihood]) -> Found:
    first = group[0].record
    columns = ["Images", "Bits per dimension", "Standard error", "Evaluations per image", "Error of the solver"]
    rows = [Row(found.record.likelihood.of, _values(found.record)) for found in group]
    charts = [histogram(group), *(_by_class(found.record) for found in group)]
    return Found(
        _heading(first.checkpoint),
        columns,
        rows,
        [chart for chart in charts if chart is not None],
        _protocol(first.protocol, first.likelihood, first.checkpoint),
    )


def _bound(record: BoundRecord) -> Found:
    bound, protocol, checkpoint = record.bound, record.protocol, record.checkpoint
    terms = {"Prior": bound.prior, "Diffusion": bound.diffusion, "Decoder": bound.decoder}
    values = {
        "Images": in_digits(bound.images),
        "Variational bound": in_digits(sum(terms.values())),
        "Standard error": "" if bound.standard_error is None else in_digits(bound.standard_error, digits=2),
        **{name: in_digits(value) for name, value in terms.items()},
        "Evaluations per image": in_digits(bound.evaluations),
    }
    facts = [
        Fact("Dimensions", in_digits(bound.dimensions)),
        Fact("Levels of the ladder", in_words(protocol.get("levels"))),
        Fact("Estimator", node_in_words(as_node(protocol.get("estimator")))),
        Fact("Grey levels k at", in_words(protocol.get("grey_levels_at"))),
        *_network(protocol, checkpoint),
    ]
    return Found(_heading(checkpoint), list(values), [Row(bound.of, list(values.values()))], [], known(facts))


def _heading(checkpoint: dict[str, Any]) -> Heading:
    step, weights, path = (checkpoint.get(key) for key in ("step", "weights", "path"))
    title = f"Step {in_digits(step)}" if isinstance(step, int) else str(path or "")
    return Heading(title + (f", {weights_in_words(weights)} weights" if weights else ""), str(path or ""))


def _values(record: LikelihoodRecord) -> list[str]:
    bits = record.likelihood
    return [
        in_digits(bits.images),
        in_digits(record.mean),
        "" if bits.standard_error is None else in_digits(bits.standard_error, digits=2),
        in_digits(bits.evaluations),
        "" if bits.solver_error is None else in_digits(bits.solver_error, digits=1),
    ]


def histogram(group: Sequence[Likelihood]) -> Chart | None:
    """The share of the images of each set between each two values; None if there is nothing to draw."""
    sets = [(found.record, [b for b in found.bits if math.isfinite(b)]) for found in group]
    values = [value for _, bits in sets for value in bits]
    if not values:
        return None
    low, high = min(values), max(values)
    log = low > 0 and high > LOG_FROM * low
    scale = math.log if log else float
    start, width = scale(low), (scale(high) - scale(low)) / BINS or 1.0
    edges = [start + number * width for number in range(BINS + 1)]
    edges = [math.exp(edge) for edge in edges] if log else edges
    lines = []
    for (about, bits), colour in zip(sets, level_colours(len(sets)), strict=True):
        counts = [0] * BINS
        for value in bits:
            counts[min(int((scale(value) - start) / width), BINS - 1)] += 1
        lines.append(Line(about.likelihood.of, _steps(edges, counts), colour, note=f"mean {in_digits(about.mean)}"))
    note = "Share of the images of each kind. What is likely lies at the left."
    return line_chart("Bits per dimension of each image", lines, "bits per dimension", log_x=log, note=note)


def _steps(edges: Sequence[float], counts: Sequence[int]) -> list[tuple[float, float]]:
    """The outline of the bars that are not empty, from the first to the last."""
    taken = [number for number, count in enumerate(counts) if count]
    if not taken:
        return []
    first, last, total = taken[0], taken[-1], sum(counts)
    points = [(edges[first], 0.0)]
    for number in range(first, last + 1):
        share = counts[number] / total
        points += [(edges[number], share), (edges[number + 1], share)]
    return [*points, (edges[last + 1], 0.0)]


def _by_class(record: LikelihoodRecord) -> Chart | None:
    bits = record.likelihood
    if (found := bits.by_class) is None or len(found.classes) < 2:
        return None
    note = f"Classes, in order: {', '.join(found.classes)}. Dotted: {in_digits(record.mean)}, the mean of all."
    return bar_chart(f"Bits per dimension by class, {bits.of}", found.bits_per_dim, "class", record.mean, note)


def _protocol(protocol: dict[str, Any], bits: Bits, checkpoint: dict[str, Any]) -> list[Fact]:
    """What bits per dimension depend on, in words."""
    vectors = protocol.get("num_projections")
    prior = as_node(protocol.get("prior"))
    return known(
        [
            Fact("Dimensions", in_digits(bits.dimensions)),
            Fact("Dequantisation", f"{in_words(protocol.get('dequantisation'))}, one grey level wide"),
            Fact("Divergence", "exact" if vectors is None else "estimated (Hutchinson)"),
            Fact("Vectors per image", f"{vectors}, {protocol.get('projection')}" if vectors else ""),
            Fact("Solver", node_in_words(as_node(protocol.get("solver")))),
            Fact("Prior", f"Gaussian of the moments of {prior.get('name')} {prior.get('split')}, and σ₁²"),
            *_network(protocol, checkpoint),
        ]
    )


def _network(protocol: dict[str, Any], checkpoint: dict[str, Any]) -> list[Fact]:
    return [
        Fact("Checkpoint", str(checkpoint.get("path", "")), checksum=checksum_of(checkpoint.get("sha256"))),
        setting("Weights", checkpoint, "weights", weights_in_words),
        setting("Seed", protocol, "seed"),
    ]
