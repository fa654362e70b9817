"""Pictures of a run: drawn during training, and of folders of samples."""

from typing import NamedTuple

from ncsn.report.elements import (
    Fact,
    Heading,
    Picture,
    as_node,
    checksum_of,
    heading_of,
    known,
    picture_of,
    setting,
    weights_in_words,
)
from ncsn.report.numbers import in_digits, node_in_words, node_name
from ncsn.runs.contents import Contents, Node, Samples

MOST_PICTURES = 8


class Drawn(NamedTuple):
    """A folder of samples: pictures, and how they were drawn."""

    heading: Heading
    grid: Picture | None
    trajectory: Picture | None
    facts: list[Fact]


class Pictures(NamedTuple):
    """By step of training, and by folder of samples."""

    training: list[Picture]
    folders: list[Drawn]


def samples(run: Contents) -> Pictures | None:
    """Pictures drawn during training, and of folders of samples."""
    steps = list(run.pictures)
    count = min(len(steps), MOST_PICTURES)
    shown = [steps[round(i * (len(steps) - 1) / max(count - 1, 1))] for i in range(count)]  # evenly, with both ends
    training = [picture_of(run.pictures[step], f"step {in_digits(step)}") for step in shown]
    folders = [_drawn(folder) for folder in run.samples]
    pictures = Pictures(training, [folder for folder in folders if folder.grid or folder.trajectory])
    return pictures if any(pictures) else None


def _drawn(folder: Samples) -> Drawn:
    grid, trajectory = folder.picture("grid.png"), folder.picture("trajectory.png")
    return Drawn(
        heading_of(folder),
        picture_of(grid) if grid else None,
        picture_of(trajectory, "each row is one chain, from noise to sample") if trajectory else None,
        _facts(folder.settings),
    )


def _facts(given: Node) -> list[Fact]:
    sampler, task = as_node(given.get("sampler")), as_node(given.get("task"))
    return known(
        [
            Fact("Task", node_in_words(task) if node_name(task) != "Generate" else ""),
            Fact("Checkpoint", str(given.get("checkpoint", "")), checksum=checksum_of(given.get("sha256"))),
            setting("Weights", given, "weights", weights_in_words),
            Fact("Sampler", node_in_words(sampler, hidden=("denoise",))),
            setting("Denoising step", sampler, "denoise"),
            setting("Labels", task, "labels"),
            setting("Guidance", task, "guidance"),
            setting("Seed", given, "seed"),
            setting("Precision", given, "precision"),
        ]
    )
