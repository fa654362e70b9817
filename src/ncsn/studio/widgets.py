"""What the tabs share: settings, pictures that can be pressed, an image to paint on, and errors in words."""

import html
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import torch

from ncsn.errors import UserError
from ncsn.studio import samplers, uploads
from ncsn.studio.networks import Network
from ncsn.studio.settings import ALL, ANY

STATIC = Path(__file__).parent / "static"
EVALUATIONS = "Evaluations of the network, at most"


@dataclass(frozen=True)
class Device:
    """What many share: so many may draw at once, and the others wait in a queue.

    Attributes:
        at_once: how many.
    """

    at_once: int

    @property
    def limit(self) -> dict[str, Any]:
        """Of an event that uses the device."""
        return {"concurrency_id": "device", "concurrency_limit": self.at_once}


@contextmanager
def told() -> Iterator[None]:
    """Tells a visitor what went wrong, where that is theirs to mend; other errors are logged and not told."""
    try:
        yield
    except UserError as error:
        raise gr.Error(html.escape(str(error)), title="This does not work", print_exception=False) from error
    except (torch.OutOfMemoryError, MemoryError) as error:
        message = "The memory of the machine does not suffice. Draw fewer images at a time."
        raise gr.Error(message, title="This does not work", print_exception=False) from error


def pictures(elem_id: str) -> gr.HTML:
    """HTML in which buttons with a number can be pressed: the event `press`, with that number."""
    script = """
      element.addEventListener('click', event => {
        const pressed = event.target.closest('[data-number]');
        if (pressed) trigger('press', {number: Number(pressed.dataset.number)});
      });"""
    return gr.HTML(js_on_load=script, elem_id=elem_id)


def canvas(elem_id: str) -> gr.HTML:
    """An image on which a hole is painted; images are dropped on it.

    Its value is {"image": its address, "width": …, "height": …, "hole": "0110…", a character per pixel, row by row,
    "paints": whether there is anything to paint}. The event `dropped` has `data`, the address that holds a file; or,
    of a file that is too large to be sent, its `size` in bytes.
    """
    template = (STATIC / "canvas.html").read_text("utf-8")
    script = (STATIC / "canvas.js").read_text("utf-8")
    return gr.HTML(html_template=template, js_on_load=script, most_bytes=uploads.MOST_BYTES, elem_id=elem_id)


class SamplerFields:
    """A sampler, and the number of evaluations that it may take.

    Attributes:
        inputs: the two.
    """

    def __init__(self, network: Network, *, held: bool = False) -> None:
        name, evaluations = samplers.suggested(network.score, held=held)
        self.name = gr.Dropdown(samplers.names(network.score), value=name, label="Sampler")
        self.evaluations = gr.Slider(
            3,
            samplers.MOST_EVALUATIONS,
            value=evaluations,
            step=1,
            label=EVALUATIONS,
            interactive=name != samplers.TRAINED,
        )
        self.inputs: list[gr.components.Component] = [self.name, self.evaluations]
        self.name.change(
            lambda name: gr.Slider(interactive=name != samplers.TRAINED),
            [self.name],
            [self.evaluations],
            api_visibility="private",
            queue=False,
        )


class ClassFields:
    """A class to draw for, and the guidance towards it; hidden where the network knows no classes.

    Attributes:
        inputs: the two.
    """

    def __init__(self, network: Network, *, many: bool = True) -> None:
        choices = [] if network.needs_class else [("any", ANY)]
        choices += [("all, in turn", ALL)] if many else []
        choices += [(name, name) for name in network.classes]
        value = (ALL if many else choices[0][1]) if network.classes else ANY
        shown = bool(network.classes)
        self.label = gr.Dropdown(choices if shown else [("any", ANY)], value=value, label="Class", visible=shown)
        self.guidance = gr.Slider(
            0,
            8,
            value=1,
            step=0.25,
            label="Guidance towards it",
            info="1: as trained; more: clearer, and less varied",
            visible=shown and not network.needs_class,
        )
        self.inputs: list[gr.components.Component] = [self.label, self.guidance]


class Fields:
    """All `Settings` of a drawing.

    Attributes:
        inputs: one for each.
    """

    def __init__(self, network: Network, most: int) -> None:
        sampler = SamplerFields(network)
        count = min(most, 2 * len(network.classes) if 2 <= len(network.classes) <= 10 else 16)
        with gr.Row():
            self.count = gr.Slider(1, most, value=count, step=1, label="Images", min_width=120)
            self.seed = seed_field()
        classes = ClassFields(network)
        self.inputs = [*sampler.inputs, self.count, self.seed, *classes.inputs]


def seed_field() -> gr.Number:
    """The same seed gives the same images."""
    return gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**32 - 1, min_width=100)
