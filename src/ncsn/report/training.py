"""What the report says of a run itself: title, settings, curves."""

from datetime import datetime
from typing import Any

from ncsn.report.charts import Line, level_colours, line_chart
from ncsn.report.elements import FIRST, SECOND, Fact, Section, facts_list
from ncsn.report.markup import Content, Markup, tag
from ncsn.report.numbers import in_digits, in_words, node_in_words, node_name, shortened
from ncsn.runs.contents import RunFolder, Series, is_drawable

STEP = "step"


def header(run: RunFolder) -> tuple[str, Markup]:
    """The title in plain text, and the top of the page: name, date, and how the run ended."""
    folder = run.path.resolve()
    name = str(run.config.get("name") or folder.name)
    status = run.result.status if run.result else "not finished"
    line: list[Content] = [
        tag("span", status, class_=f"status {status}" if status in ("finished", "failed") else "status")
    ]
    date = _date(run.record.get("started"))
    if date:
        line.append(tag("span", date))
    line.append(tag("span", f"{folder.parent.name}/{folder.name}", class_="folder"))
    error = run.result.error if run.result else None
    top = tag(
        "header",
        tag("p", "Noise conditional score network", class_="kind"),
        tag("h1", name),
        tag("p", line, class_="line"),
        tag("p", error, class_="error") if error else None,
    )
    return " · ".join(filter(None, [name, date])), top


def settings(run: RunFolder) -> Section | None:
    """What was trained, and all of the configuration."""
    facts = [*_facts_of_training(run), *_facts_of_the_call(run)]
    if not facts and run.config_text is None:
        return None
    whole = None
    if run.config_text is not None:
        text = tag("pre", run.config_text, tabindex="0")
        whole = tag("details", tag("summary", "The whole configuration"), text)
    return Section("settings", "Settings", [facts_list(facts), whole])


def _facts_of_training(run: RunFolder) -> list[Fact]:
    data, model, noise = run.node("data"), run.node("model"), run.node("noise")
    found: list[Fact] = []
    if data:
        size, channels = data.get("image_size"), data.get("channels")
        shape = f"{size} × {size} × {channels}" if size and channels else None
        found.append(("Data", ", ".join(filter(None, [str(data.get("name", node_name(data))), shape]))))
    done = max((points[-1][0] for points in run.metrics.values()), default=None)
    planned = run.node("trainer").get("max_steps")
    if done is not None or planned:
        counts = [in_digits(n) for n in (done, planned) if isinstance(n, int | float) and n > 0]
        found.append(("Steps", " of ".join(counts)))
    if noise:
        found.append(("Noise levels", _ladder(noise)))
    if model:
        found.append(("Network", node_in_words(model, hidden=("image_size", "in_channels"))))
    if objective := run.node("objective"):
        found.append(("Objective", node_in_words(objective).replace("_", " ")))
    if optimizer := run.node("optimizer"):
        found.append(("Optimiser", node_in_words(optimizer, hidden=("fused",))))
    if scheduler := run.node("scheduler"):
        found.append(("Learning rate", node_in_words(scheduler)))
    if "batch_size" in data:
        found.append(("Batch size", in_words(data["batch_size"])))
    if run.config:
        ema = run.node("callbacks.ema")
        warmup = ", with a warm-up" if ema.get("warmup") else ""
        found.append(("EMA", f"{in_words(ema.get('rate'))}{warmup}" if ema else "none"))
    if precision := run.node("trainer").get("precision"):
        found.append(("Precision", in_words(precision)))
    if "seed" in run.config:
        found.append(("Seed", in_words(run.config["seed"])))
    return found


def _ladder(noise: dict[str, Any]) -> Content:
    if not {"sigma_max", "sigma_min", "num_levels"} <= noise.keys():
        return node_in_words(noise)
    ends = [in_words(noise[key]) for key in ("sigma_max", "sigma_min", "num_levels")]
    symbols: list[Content] = [["σ", tag("sub", "1")], ["σ", tag("sub", "L")], "L"]
    parts: list[Content] = [[s, " = ", e, ", "] for s, e in zip(symbols, ends, strict=True)]
    return [*parts, node_name(noise)]


def _facts_of_the_call(run: RunFolder) -> list[Fact]:
    record = run.record
    found: list[Fact] = []
    if device := record.get("device"):
        machine = record.get("machine")
        found.append(("Device", f"{device} on {machine}" if machine else str(device)))
    if versions := record.get("versions"):
        found.append(("Versions", in_words(versions).replace(", ", " · ")))
    if git := record.get("git"):
        found.append(("Git revision", tag("code", shortened(str(git)))))
    if command := record.get("command"):
        found.append(("Command", tag("code", str(command))))
    if run.result and run.result.overrides:
        changed = " ".join(f"{key}={value}" for key, value in run.result.overrides.items())
        found.append(("Overrides", tag("code", changed)))
    return found


def curves(run: RunFolder) -> Section | None:
    """Losses, learning rate and speed by step, and the loss by noise level."""
    names = {"train": ("training", FIRST), "val": ("held-out", SECOND)}
    losses = [
        Line(name, points, colour, in_digits(points[-1][1]), dots=len(points) < 30 and stage == "val")
        for stage, (name, colour) in names.items()
        if (points := run.metrics.get(f"{stage}/loss_per_dim"))
    ]
    charts = [
        line_chart("Loss per dimension", losses, STEP, log_y=None),
        _curve(run, "lr", "Learning rate"),
        _curve(run, "images_per_second", "Images per second"),
    ]
    dimensions = _dimensions(run)
    by_level = {stage: _by_level(run, stage, dimensions) for stage in names}
    charts.append(
        line_chart(
            "Last loss by noise level",
            [
                Line(name, [(s, points[-1][1]) for s, points in by_level[stage].items()], colour, dots=True)
                for stage, (name, colour) in names.items()
                if by_level[stage]
            ],
            "noise level σ",
            log_x=True,
            log_y=None,
            include_zero=True,
        )
    )
    for stage, (name, _) in names.items():
        levels = by_level[stage]
        lines = [
            Line(f"σ = {in_digits(sigma)}", points, colour)
            for (sigma, points), colour in zip(levels.items(), level_colours(len(levels)), strict=True)
        ]
        if any(len(line.points) > 1 for line in lines):
            charts.append(line_chart(f"{name.capitalize()} loss by noise level", lines, STEP, log_y=None))
    drawn = [chart for chart in charts if chart is not None]
    note = f"All losses are divided by the {in_digits(dimensions)} values of an image." if dimensions > 1 else None
    content = [tag("div", drawn, class_="charts"), tag("p", note, class_="note") if note else None]
    return Section("curves", "Curves", content) if drawn else None


def _curve(run: RunFolder, metric: str, title: str) -> Markup | None:
    points = run.metrics.get(metric, [])
    return line_chart(title, [Line(title, points, FIRST)], STEP, include_zero=True)


def _dimensions(run: RunFolder) -> int:
    """Values of an image: what a loss was divided by to give the loss per dimension; 1 if that is unknown."""
    for stage in ("train", "val"):
        for (_, loss), (_, per_dim) in zip(
            run.metrics.get(f"{stage}/loss", []), run.metrics.get(f"{stage}/loss_per_dim", []), strict=False
        ):
            if is_drawable(loss) and is_drawable(per_dim) and per_dim:
                return max(round(loss / per_dim), 1)
    return 1


def _by_level(run: RunFolder, stage: str, dimensions: int) -> dict[float, Series]:
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
