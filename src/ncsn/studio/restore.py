"""Restore: an image of the visitor's or of the data set, a hole painted into it, and several completions."""

import random
from collections.abc import Iterator
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from ncsn.errors import ConfigError
from ncsn.sampling.tasks.masks import by_name
from ncsn.studio import given, samplers, showing, uploads
from ncsn.studio.draw import generate
from ncsn.studio.live import Moment, bytes_of, moments, seldom
from ncsn.studio.networks import Network, Networks
from ncsn.studio.settings import ANY, Settings
from ncsn.studio.widgets import ClassFields, Device, SamplerFields, canvas, seed_field, told

HOLES = ("left", "right", "top", "bottom", "center", "random")
MOST_COMPLETIONS = 8


def sheet(pixels: Tensor, hole: Tensor | None = None, paints: bool = True) -> dict[str, Any]:
    """The value of a `canvas`: an image, uint8 (1, C, H, W), and what is painted, bool (H, W)."""
    height, width = pixels.shape[-2:]
    painted = "0" * (height * width) if hole is None else "".join(map(str, hole.int().flatten().tolist()))
    shown = {"image": showing.data_uri(pixels[0]), "width": width, "height": height}
    return shown | {"hole": painted, "paints": paints}


def painted_on(value: object, height: int, width: int) -> Tensor:
    """What is painted, bool (H, W), of the value of a `canvas` as a browser sends it.

    Raises:
        ConfigError: it is none of an image of this size.
    """
    text = value.get("hole") if isinstance(value, dict) else None
    if not isinstance(text, str) or len(text) != height * width or set(text) - {"0", "1"}:
        raise ConfigError("What was painted did not arrive; choose the image again.")
    return torch.tensor([pixel == "1" for pixel in text]).view(height, width)


def restore(
    network: Network, choice: str, pixels: Tensor, hole: Tensor, settings: Settings
) -> Iterator[tuple[Moment, dict[str, Tensor]]]:
    """Completions on their way, with what is shown beside them, (1, C, H, W) by their names.

    Args:
        choice: one of `given.choices`.
        pixels, hole: see `given.task_of`.

    Raises:
        ConfigError: the network or the sampler cannot do it.
    """
    chosen = given.choices(network).get(choice)
    if chosen is None:
        raise ConfigError(f"{choice}: this network cannot do that")
    task = given.task_of(network, chosen, pixels, hole, settings)
    for moment in seldom(moments(network, task, settings.seed)):
        yield moment, task.beside


def one_of_the_data_set(network: Network) -> Tensor:
    """Any held-out image, uint8 (1, C, H, W)."""
    images = network.given_images()
    return images[random.randrange(len(images))][None].clone()


def one_that_is_drawn(network: Network) -> Iterator[Tensor | None]:
    """An image of the network's own, uint8 (1, C, H, W), after Nones while it is drawn."""
    name, evaluations = samplers.suggested(network.score)
    label = random.choice(network.classes) if network.classes else ANY
    settings = Settings(name, evaluations, count=1, seed=random.randrange(2**32), label=label)
    for moment in seldom(moments(network, generate(network, settings), settings.seed)):
        yield bytes_of(moment.x) if moment.is_last else None


def how(network: Network) -> str:
    """In a few sentences, how this network restores."""
    if network.draws:
        return (
            "This network has never seen a damaged image. After every step of the sampler, what is known of the "
            "image is put back, with the noise of the level (Algorithm 2), so that the rest grows to fit it. Many "
            "steps fit better. Several completions show what the rest may have been."
        )
    if network.estimates:
        return (
            "This network was trained by regression: of a damaged image it gives one estimate, in one evaluation. "
            "Where several images are possible, that is their mean, which is blurred."
        )
    return (
        "This network was trained on damaged images beside whole ones (Palette): it is given the damaged image at "
        "every step, and a few evaluations suffice. Several completions show what the rest may have been."
    )


def tab(networks: Networks, device: Device) -> None:
    network = networks.first
    channels, size, _ = network.score.image_shape
    choices = given.choices(network)
    first = next(iter(choices))
    image = gr.State(None, time_to_live=3600)
    with gr.Row(elem_classes="studio"):
        with gr.Column(scale=1, min_width=280):
            gr.HTML(showing.note(how(network)))
            paper = canvas("canvas")
            with gr.Row():
                take = gr.Button("One of the data set", size="sm", min_width=120, elem_id="restore-take")
                drawn = gr.Button(
                    "One the network draws", size="sm", min_width=120, visible=network.draws, elem_id="restore-own"
                )
            hole = gr.Radio(HOLES, label="Or paint for me", visible=choices[first].paints, elem_id="restore-hole")
            choice = gr.Dropdown(list(choices), value=first, label="What to do", elem_id="restore-choice")
            with gr.Row():
                start = gr.Button("Restore", variant="primary", elem_id="restore-start", min_width=120)
                stop = gr.Button("Stop", elem_id="restore-stop", min_width=120)
            with gr.Accordion("Settings", open=False):
                sampler = SamplerFields(network, held=network.draws)
                with gr.Row():
                    count = gr.Slider(1, MOST_COMPLETIONS, value=4, step=1, label="Completions", min_width=120)
                    seed = seed_field()
                classes = ClassFields(network, many=False)
        with gr.Column(scale=2, min_width=320):
            level = gr.HTML(elem_id="restore-noise")
            results = gr.HTML(
                showing.note("Choose an image, paint over a part of it, and press Restore."),
                elem_id="restore-results",
            )

    def put(pixels: Tensor, words: str) -> tuple[dict[str, Any], Tensor]:
        return sheet(pixels, paints=choices[words].paints), pixels

    def take_one(words: str) -> tuple[dict[str, Any], Tensor]:
        with told():
            return put(one_of_the_data_set(network), words)

    def draw_one(words: str) -> Iterator[Any]:
        with told():
            for pixels in one_that_is_drawn(network):
                yield (gr.skip(), gr.skip()) if pixels is None else put(pixels, words)

    def dropped(words: str, event: gr.EventData) -> tuple[dict[str, Any], Tensor]:
        with told():
            return put(uploads.decode(event._data, channels, size), words)

    def fill(pixels: Tensor | None, mask: str | None) -> Any:
        if pixels is None or mask not in HOLES:
            return gr.skip()
        return sheet(pixels, by_name(mask, 0.5, 0, *pixels.shape[-2:]))

    def choose(pixels: Tensor | None, value: object, words: str) -> tuple[Any, Any]:
        paints = choices[words].paints
        if pixels is None or not isinstance(value, dict):
            return gr.skip(), gr.Radio(visible=paints)
        return sheet(pixels, None, paints), gr.Radio(visible=paints, value=None)

    def start_restoring(
        pixels: Tensor | None, value: object, words: str, *settings: Any
    ) -> Iterator[tuple[str, str]]:
        with told():
            if pixels is None:
                raise ConfigError("There is no image yet: drop one, or choose one.")
            painted = painted_on(value, size, size)
            for moment, beside in restore(network, words, pixels, painted, Settings(*settings)):
                yield completions(moment, beside), showing.noise(moment, network.score.sigmas)

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    here = [paper, image]
    take.click(take_one, [choice], here, **quiet)
    drawing = drawn.click(draw_one, [choice], here, **quiet, **device.limit)
    paper.dropped(dropped, [choice], here, **quiet)
    hole.input(fill, [image, hole], [paper], **quiet)
    choice.input(choose, [image, paper, choice], [paper, hole], **quiet)
    inputs = [image, paper, choice, *sampler.inputs, count, seed, *classes.inputs]
    started = start.click(start_restoring, inputs, [results, level], **quiet, **device.limit)
    stop.click(None, cancels=[started, drawing])


def completions(moment: Moment, beside: dict[str, Tensor]) -> str:
    """What is known, the completions, and the original, side by side."""
    names = {"measured": "given", "original": "as it was"}
    row = [(names[name], images[0]) for name, images in beside.items()]
    row[1:1] = [(f"{number}", x) for number, x in enumerate(moment.x.float().cpu(), 1)]
    return showing.row(torch.stack([x for _, x in row]), [name for name, _ in row], "7rem")
