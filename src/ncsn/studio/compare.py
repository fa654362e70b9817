"""Compare: two checkpoints, or two samplers, from the same seed, side by side."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import gradio as gr

from ncsn.studio import showing
from ncsn.studio.draw import generate, most_images
from ncsn.studio.live import Moment, bytes_of, moments, seldom
from ncsn.studio.networks import Network, Networks
from ncsn.studio.samplers import CHOICES, MOST_EVALUATIONS, TRAINED, WITHOUT_NOISE, names, suggested
from ncsn.studio.settings import ALL, ANY, Settings
from ncsn.studio.widgets import EVALUATIONS, ClassFields, Device, seed_field, told

Side = tuple[Network, Settings]


def compare(*sides: Side) -> Iterator[tuple[Moment | None, Moment | None]]:
    """The images of two sides on their way, step by step in turn; None for a side that has none yet.

    Raises:
        ConfigError: a network draws no images, or its sampler refuses it.
    """
    chains = []
    for network, asked in sides:
        label = asked.label if asked.label in (*network.classes, ALL) else ANY
        settings = replace(asked, count=min(asked.count, most_images(network)), label=label)
        chains.append(seldom(moments(network, generate(network, settings), settings.seed)))
    left: Moment | None = None
    right: Moment | None = None
    for new_left, new_right in zip_longest(*chains):
        left, right = new_left or left, new_right or right
        yield left, right


def difference(left: Moment, right: Moment) -> str:
    """How far the images of both sides are from each other, in a sentence."""
    if left.x.shape != right.x.shape:
        return "The images are not of one size."
    a, b = (bytes_of(moment.x).double() / 255 for moment in (left, right))
    distance = (a - b).square().flatten(1).mean(1).sqrt()
    return (
        f"Root mean square difference of pixels, from 0 to 1: {distance.mean():.3f} on average, "
        f"{distance.min():.3f} to {distance.max():.3f}. Both began with the same noise."
    )


def tab(networks: Networks, device: Device) -> None:
    first = networks.first
    if not first.draws:
        gr.HTML(showing.note("This network restores damaged images and draws none from nothing."))
        return
    second = networks.names[1] if len(networks.names) > 1 else first.name
    offered = names(first.score) if second == first.name else [*CHOICES, TRAINED]
    name, most = suggested(first.score)
    name = TRAINED if name == TRAINED else WITHOUT_NOISE
    few = max(3, most // 4) if second == first.name else most
    gr.HTML(
        showing.note(
            "Both sides begin with the same noise. Two checkpoints show what training has changed; one checkpoint "
            "with two samplers shows what the steps are worth. For a second network: ncsn studio ckpt=… against=…"
        )
    )
    with gr.Row(elem_classes="studio"):
        count = gr.Slider(1, min(36, most_images(first)), value=min(9, most_images(first)), step=1, label="Images")
        seed = seed_field()
        classes = ClassFields(first)
    fields: list[list[gr.components.Component]] = []
    with gr.Row(elem_classes="studio"):
        for chosen, evaluations in ((first.name, most), (second, few)):
            with gr.Column(min_width=300):
                network = gr.Dropdown(networks.names, value=chosen, label="Network")
                sampler = gr.Dropdown(offered, value=name, label="Sampler")
                steps = gr.Slider(3, MOST_EVALUATIONS, value=evaluations, step=1, label=EVALUATIONS)
            fields.append([network, sampler, steps])
    with gr.Row(elem_classes="studio"):
        start = gr.Button("Compare", variant="primary", elem_id="compare-start", scale=0, min_width=160)
        stop = gr.Button("Stop", elem_id="compare-stop", scale=0, min_width=120)
    shown = []
    with gr.Row(elem_classes="studio"):
        for number in (1, 2):
            with gr.Column(min_width=300):
                level = gr.HTML(elem_id=f"compare-noise-{number}")
                shown += [gr.HTML(elem_id=f"compare-pictures-{number}"), level]
    told_apart = gr.HTML(elem_id="compare-difference")

    def start_comparing(
        count: int, seed: int, label: str, guidance: float, *chosen: str | int
    ) -> Iterator[tuple[str, ...]]:
        with told():
            sides = [
                (networks.load(str(name)), Settings(str(sampler), int(evaluations), count, seed, label, guidance))
                for name, sampler, evaluations in (chosen[:3], chosen[3:])
            ]
            for left, right in compare(*sides):
                found = []
                for (network, _), moment in zip(sides, (left, right), strict=True):
                    if moment is None:
                        found += ["", ""]
                        continue
                    found += [showing.tiles(moment.x)]
                    found += [showing.noise(moment, network.score.sigmas)]
                done = left is not None and right is not None and left.is_last and right.is_last
                yield *found, showing.note(difference(left, right)) if done and left and right else ""

    inputs = [count, seed, *classes.inputs, *fields[0], *fields[1]]
    limits: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", **device.limit}
    started = start.click(start_comparing, inputs, [*shown, told_apart], **limits)
    stop.click(None, cancels=[started])
