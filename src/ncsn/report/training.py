"""What the report says of a run itself: title, settings, curves."""

from datetime import datetime
from typing import Any, NamedTuple

from ncsn.report.charts import FIRST, SECOND, Chart, Line, level_colours, line_chart
from ncsn.report.elements import Fact, known, setting
from ncsn.report.numbers import in_digits, in_words, node_in_words, node_name, shortened
from ncsn.runs.contents import Contents, Node, Series, is_drawable

STAGES = {"train": ("training", FIRST), "val": ("held-out", SECOND)}
SIGMA = "noise level σ"


class Header(NamedTuple):
    """The top of the page: name, date, and how the run ended."""

    name: str
    date: str
    status: str
    folder: str
    error: str | None


class Settings(NamedTuple):
    """What was trained, and the text of the configuration."""

    facts: list[Fact]
    config: str | None


class Curves(NamedTuple):
    """Charts, and how many values of an image the losses are divided by."""

    charts: list[Chart]
    dimensions: int


def header(run: Contents) -> Header:
    folder = run.path.resolve()
    return Header(
        name=str(run.config.get("name") or folder.name),
        date=_date(run.record.get("started")),
        status=run.result.status if run.result else "not finished",
        folder=f"{folder.parent.name}/{folder.name}",
        error=run.result.error if run.result else None,
    )


def settings(run: Contents) -> Settings | None:
    facts = known([*_facts_of_training(run), *_facts_of_the_call(run)])
    return Settings(facts, run.config_text) if facts or run.config_text is not None else None


def _facts_of_training(run: Contents) -> list[Fact]:
    data, trainer = run.node("data"), run.node("trainer")
    return [
        Fact("Data", _data(data)),
        Fact("Steps", _steps(run)),
        Fact("Noise levels", _ladder(run.node("noise"))),
        Fact("Network", node_in_words(run.node("model"), hidden=("image_size", "in_channels"))),
        Fact("Objective", node_in_words(run.node("objective")).replace("_", " ")),
        Fact("Optimiser", node_in_words(run.node("optimizer"), hidden=("fused",))),
        Fact("Learning rate", node_in_words(run.node("scheduler"))),
        setting("Batch size", data, "batch_size"),
        Fact("EMA", _average(run.node("callbacks.ema")) if run.config else ""),
        setting("Precision", trainer, "precision"),
        setting("Seed", run.config, "seed"),
    ]


def _data(data: Node) -> str:
    size, channels = data.get("image_size"), data.get("channels")
    shape = f"{size} × {size} × {channels}" if size and channels else ""
    return ", ".join(filter(None, [str(data.get("name", node_name(data))), shape]))


def _steps(run: Contents) -> str:
    done = max((points[-1][0] for points in run.metrics.values()), default=None)
    counts = (done, run.node("trainer").get("max_steps"))
    return " of ".join(in_digits(n) for n in counts if isinstance(n, int | float) and n > 0)


def _ladder(noise: Node) -> str:
    first, last, count = (noise.get(key) for key in ("sigma_max", "sigma_min", "num_levels"))
    if first is None or last is None or count is None:
        return node_in_words(noise)
    return f"{in_words(count)}, {node_name(noise)}, from σ = {in_words(first)} to {in_words(last)}"


def _average(ema: Node) -> str:
    if not ema:
        return "none"
    return in_words(ema.get("rate")) + (", with warm-up" if ema.get("warmup") else "")


def _facts_of_the_call(run: Contents) -> list[Fact]:
    record, overrides = run.record, run.result.overrides if run.result else {}
    machine = " on ".join(str(record[key]) for key in ("device", "machine") if record.get(key))
    return [
        Fact("Device", machine if record.get("device") else ""),
        Fact("Versions", in_words(record.get("versions") or {}).replace(", ", " · ")),
        Fact("Git revision", code=shortened(str(record.get("git") or ""))),
        Fact("Command", code=str(record.get("command") or "")),
        Fact("Overrides", code=" ".join(f"{key}={value}" for key, value in overrides.items())),
    ]


def curves(run: Contents) -> Curves | None:
    """Losses, learning rate and speed by step, and losses by noise level."""
    dimensions = _dimensions(run)
    charts = [
        _losses(run),
        _curve(run, "lr", "Learning rate"),
        _curve(run, "images_per_second", "Images per second"),
        *_losses_by_level(run, dimensions),
    ]
    drawn = [chart for chart in charts if chart is not None]
    return Curves(drawn, dimensions) if drawn else None


def _losses(run: Contents) -> Chart | None:
    lines = [
        Line(name, points, colour, in_digits(points[-1][1]), dots=len(points) < 30 and stage == "val")
        for stage, (name, colour) in STAGES.items()
        if (points := run.metrics.get(f"{stage}/loss_per_dim"))
    ]
    return line_chart("Loss per dimension", lines, "step", log_y=True)


def _curve(run: Contents, metric: str, title: str) -> Chart | None:
    return line_chart(title, [Line(title, run.metrics.get(metric, []), FIRST)], "step", include_zero=True)


def _losses_by_level(run: Contents, dimensions: int) -> list[Chart | None]:
    """The last loss at every level, then each level's loss by step."""
    last: list[Line] = []
    by_step: list[Chart | None] = []
    for stage, (name, colour) in STAGES.items():
        levels = _by_level(run, stage, dimensions)
        if not levels:
            continue
        last.append(Line(name, [(sigma, points[-1][1]) for sigma, points in levels.items()], colour, dots=True))
        if any(len(points) > 1 for points in levels.values()):
            lines = [
                Line(f"σ = {in_digits(sigma)}", points, shade)
                for (sigma, points), shade in zip(levels.items(), level_colours(len(levels)), strict=True)
            ]
            by_step.append(line_chart(f"{name.capitalize()} loss by noise level", lines, "step", log_y=True))
    chart = line_chart("Last loss by noise level", last, SIGMA, log_x=True, log_y=True, include_zero=True)
    return [chart, *by_step]


def _dimensions(run: Contents) -> int:
    """Values of an image: what a loss was divided by to give the loss per dimension; 1 if that is unknown."""
    for stage in STAGES:
        for (_, loss), (_, per_dim) in zip(
            run.metrics.get(f"{stage}/loss", []), run.metrics.get(f"{stage}/loss_per_dim", []), strict=False
        ):
            if is_drawable(loss) and is_drawable(per_dim) and per_dim:
                return max(round(loss / per_dim), 1)
    return 1


def _by_level(run: Contents, stage: str, dimensions: int) -> dict[float, Series]:
    """Losses over steps, by noise level, the largest first."""
    prefix = f"{stage}/loss_sigma_"
    found: dict[float, Series] = {}
    for name, points in run.metrics.items():
        try:
            sigma = float(name.removeprefix(prefix)) if name.startswith(prefix) else 0.0
        except ValueError:
            continue
        if sigma > 0:
            found[sigma] = [(step, loss / dimensions) for step, loss in points]
    return dict(sorted(found.items(), reverse=True))


def _date(text: Any) -> str:
    try:
        date = datetime.fromisoformat(str(text))
    except ValueError:
        return ""
    return f"{date.day} {date:%B %Y, %H:%M}"
