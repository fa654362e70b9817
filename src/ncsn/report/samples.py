"""Pictures of a run: drawn while training, and of folders of samples."""

import re
from pathlib import Path
from typing import Any

from ncsn.report.elements import Fact, Section, as_node, checksum_of, facts_list, picture_of
from ncsn.report.markup import Content, Markup, join, tag
from ncsn.report.numbers import in_digits, in_words, node_in_words, node_name
from ncsn.runs.contents import RunFolder, Samples

MOST_PICTURES = 8
WEIGHTS = {"ema": "EMA", "raw": "raw"}


def samples(run: RunFolder) -> Section | None:
    """Pictures drawn while training, and folders of samples."""
    content: list[Content] = []
    if run.pictures:
        *before, last = _spread(list(run.pictures.items()), MOST_PICTURES)
        small = [picture_of(path, f"step {in_digits(step)}") for step, path in before]
        content.append(tag("h3", "While training"))
        large = picture_of(last[1], f"step {in_digits(last[0])}", class_="large")
        content.append(tag("div", large, tag("div", small, class_="small") if small else None, class_="pictures"))
    content += [_folder(folder) for folder in run.samples]
    drawn = [part for part in content if part]
    return Section("samples", "Samples", drawn) if drawn else None


def _folder(folder: Samples) -> Markup | None:
    pictures: list[Content] = []
    if grid := folder.picture("grid.png"):
        pictures.append(picture_of(grid, "", class_="large"))
    strip = None
    if trajectory := folder.picture("trajectory.png"):
        caption = "from noise to sample: a row a sample, its columns along the chain"
        strip = picture_of(trajectory, caption, class_="strip")
    if not (pictures or strip):
        return None
    facts = facts_list(_facts_of_samples(folder.settings))
    return join([heading_of(folder), tag("div", pictures, facts, class_="beside"), strip])


def heading_of(folder: Samples) -> Markup:
    return tag("h3", tag("span", short_name(folder)), " ", tag("span", folder.path.name, class_="folder"))


def short_name(folder: Samples) -> str:
    """In words: task, checkpoint, weights."""
    about = (folder.evaluation.checkpoint if folder.evaluation else None) or {}
    name = Path(str(folder.settings.get("checkpoint") or about.get("path") or "")).stem
    numbers = [match[1] for text in (name, folder.path.name) if (match := re.match(r"step_(\d+)", text))]
    step = about.get("step", int(numbers[0]) if numbers else None)
    weights = folder.settings.get("weights") or about.get("weights")
    task = node_name(as_node(folder.settings.get("task")))
    words = [
        task if task != "Generate" else "",
        f"step {in_digits(step)}" if isinstance(step, int) else name,
        f"{WEIGHTS.get(str(weights), weights)} weights" if weights else "",
    ]
    text = ", ".join(filter(None, words)) or folder.path.name
    return text[:1].upper() + text[1:]


def _facts_of_samples(given: dict[str, Any]) -> list[Fact]:
    sampler, task = as_node(given.get("sampler")), as_node(given.get("task"))
    found: list[Fact] = []
    if task and node_name(task) != "Generate":
        found.append(("Task", node_in_words(task)))
    if "checkpoint" in given:
        found.append(("Checkpoint", [str(given["checkpoint"]), checksum_of(given.get("sha256"))]))
    if "weights" in given:
        found.append(("Weights", WEIGHTS.get(str(given["weights"]), in_words(given["weights"]))))
    if sampler:
        found.append(("Sampler", node_in_words(sampler, hidden=("denoise",))))
    if "denoise" in sampler:
        found.append(("Denoising step", in_words(sampler["denoise"])))
    found += [(name.capitalize(), in_words(given[name])) for name in ("seed", "precision") if name in given]
    return found


def _spread(entries: list[Any], count: int) -> list[Any]:
    """At most `count` of the entries, evenly, the first and the last among them."""
    if len(entries) <= count:
        return entries
    return [entries[round(i * (len(entries) - 1) / (count - 1))] for i in range(count)]
