"""Draw: samples that appear step by step; of each its chain, and the training images nearest to it."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

import gradio as gr
import torch
from torch import Tensor

from ncsn.evaluation.neighbours import nearest
from ncsn.sampling.drawing import evenly
from ncsn.sampling.tasks import Generate
from ncsn.studio import samplers, showing
from ncsn.studio.live import Moment, bytes_of, moments, seldom
from ncsn.studio.networks import Network, Networks
from ncsn.studio.settings import ALL, Settings
from ncsn.studio.widgets import Device, Fields, pictures, told

MOST_VALUES = 2**20  # pixels of all images of a call together, times their channels
FRAMES, NEIGHBOURS = 10, 8


@dataclass
class Drawn:
    """What somebody has drawn last: the images, uint8 (N, C, H, W), at a few steps of their chains."""

    network: Network
    frames: list[Tensor] = field(default_factory=list)
    levels: list[str] = field(default_factory=list)


def most_images(network: Network) -> int:
    """How many may be drawn at once."""
    channels, height, width = network.score.image_shape
    return max(1, min(64, MOST_VALUES // (channels * height * width)))


def generate(network: Network, settings: Settings) -> Generate:
    """The task of drawing images from nothing."""
    return Generate(score=network.score, **settings.of_task(network))


def columns_of(network: Network, label: str) -> int | None:
    """Of a picture: one for each class where they take turns, None for a square."""
    return len(network.classes) if label == ALL and 2 <= len(network.classes) <= 16 else None


def draw(network: Network, settings: Settings) -> Iterator[tuple[Moment, Drawn | None]]:
    """Images on their way; with the last of them, a few steps of all chains."""
    task = generate(network, settings)
    keep, drawn = {0, *(step + 1 for step in evenly(task.num_steps, FRAMES))}, Drawn(network)

    def kept() -> Iterator[Moment]:
        for moment in moments(network, task, settings.seed):
            if moment.step in keep:
                drawn.frames.append(bytes_of(moment.x))
                drawn.levels.append("sample" if moment.is_last else f"σ = {moment.sigma:.2g}")
            yield moment

    for moment in seldom(kept()):
        yield moment, drawn if moment.is_last else None


def terminal(ckpt: str, network: Network, settings: Settings) -> list[str]:
    """The command that draws the very same images."""
    count, of_class = settings.count, settings.of_class(network)
    if of_class.get("guidance") == 1:
        del of_class["guidance"]
    words = [f"ckpt={ckpt}", f"num_samples={count}", f"batch_size={count}", f"seed={settings.seed}"]
    words += samplers.overrides_of(network.score, settings.sampler, settings.evaluations)
    words += [f"{key}={value}" for key, value in of_class.items()]
    return ["ncsn", "sample", *map(shlex.quote, words)]


def about(drawn: Drawn | None, number: int) -> str:
    """The chain of one of the images drawn, and its nearest training images, as HTML."""
    if drawn is None or not 0 <= number < len(drawn.frames[-1]):
        return showing.note("Draw first, then press an image.")
    chain = torch.stack([frame[number] for frame in drawn.frames])
    shown = showing.heading(f"The chain of image {number + 1}")
    shown += showing.row(chain, drawn.levels)
    shown += showing.heading("The training images nearest to it")
    if drawn.network.data is None:
        return shown + showing.note(
            "They are not on this machine. Start the studio with data.root=FOLDER if they are in another folder."
        )
    training = drawn.network.training_data().images("train")
    found = nearest(chain[-1:], training, min(NEIGHBOURS, len(training)))
    distances = [f"{distance / 255:.2f}" for distance in found.distances[0].tolist()]
    shown += showing.row(training[found.indices[0]], distances)
    return shown + showing.note(
        f"Of {len(training):,}. The numbers are distances: the root of the sum over all pixels of squared "
        "differences. A network that had learned its training images by heart would draw copies."
    )


def tab(networks: Networks, device: Device, ckpt: str) -> None:
    """The tab; `ckpt` is how the command line calls the first network."""
    network = networks.first
    if not network.draws:
        gr.HTML(
            showing.note(
                "This network restores damaged images and draws none from nothing; the tab Restore is where to go."
            )
        )
        return
    drawn = gr.State(None, time_to_live=3600)
    with gr.Row(elem_classes="studio"):
        with gr.Column(scale=1, min_width=280):
            gr.HTML(
                showing.note(
                    "Every image begins as noise. The network knows in which direction an image becomes more likely; "
                    "the sampler follows it, step by step, while the noise level σ falls."
                )
            )
            fields = Fields(network, most_images(network))
            with gr.Row():
                start = gr.Button("Draw", variant="primary", elem_id="draw-start", min_width=120)
                stop = gr.Button("Stop", elem_id="draw-stop", min_width=120)
        with gr.Column(scale=2, min_width=320):
            level = gr.HTML(elem_id="draw-noise")
            shown = pictures("draw-pictures")
            details = gr.HTML(showing.note("Press an image for its chain and its nearest training images."))
            line = gr.HTML()

    def start_drawing(
        name: str, evaluations: int, count: int, seed: int, label: str, guidance: float
    ) -> Iterator[tuple[str, str, str, str, Drawn | None]]:
        settings = Settings(name, evaluations, count, seed, label, guidance)
        hint = showing.note("Press an image for its chain and its nearest training images.")
        with told():
            for moment, kept in draw(network, settings):
                images = showing.tiles(moment.x, pressed=moment.is_last, columns=columns_of(network, label))
                bar = showing.noise(moment, network.score.sigmas)
                done = showing.command(terminal(ckpt, network, settings)) if kept else ""
                yield images, bar, hint, done, kept

    def press(kept: Drawn | None, event: gr.EventData) -> str:
        number = (event._data or {}).get("number")
        with told():
            return about(kept, number if isinstance(number, int) else -1)

    started = start.click(
        start_drawing,
        fields.inputs,
        [shown, level, details, line, drawn],
        api_name="draw",
        show_progress="hidden",
        **device.limit,
    )
    stop.click(None, cancels=[started])
    shown.press(press, [drawn], [details], api_visibility="private", show_progress="minimal")
