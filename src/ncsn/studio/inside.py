"""Look inside: a density whose score is known, why annealing works, and the loss of the network by noise level."""

import math
import time
from base64 import b64encode
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import gradio as gr
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ncsn import mixture, noise
from ncsn.damage import Damage, Pairs
from ncsn.data.transforms import to_unit_interval
from ncsn.evaluation.held_out import loss_by_level
from ncsn.random import Draws
from ncsn.report.charts import FIRST, SECOND, THIRD, Line, line_chart
from ncsn.report.page import render_chart
from ncsn.samplers import AnnealedLangevin, Langevin
from ncsn.score import Score, score_given
from ncsn.studio import showing
from ncsn.studio.networks import Network, Networks
from ncsn.studio.widgets import Device, seed_field, told

HALF_SIDE, PIXELS, ARROWS = 9.0, 60, 15
SIGMA_MAX, SIGMA_MIN, LEVELS, STEP_SIZE = 20.0, 1.0, 10, 0.1  # of Fig. 3
CHAINS, START, PICTURES = 400, 8.0, 80
LOOKED_AT, MOST_LEVELS = 64, 16
OF_THE_SCORE = (
    "One mode has a weight of 1/5, the other of 4/5. The arrows are the score: the direction in which the density "
    "grows, longer where it grows faster. Add noise. With little of it, the arrows near a mode say nothing of its "
    "weight; with much, all of them point to where most of the weight is."
)
OF_ANNEALING = (
    "Chains start anywhere. Langevin dynamics takes all its steps at the smallest noise: a chain stays in the mode "
    "on whose side it began. Annealed Langevin dynamics begins with much noise, where the score knows the weights, "
    "and takes the noise away level by level. Both take the same number of steps."
)


def plane(sigma: float, *, points: Tensor | None = None, arrows: bool = False) -> str:
    """The mixture at a noise level, as SVG: darker where it is denser; with its score as arrows, or points (N, 2)."""
    side = torch.linspace(-HALF_SIDE, HALF_SIDE, PIXELS)
    grid = torch.cartesian_prod(-side, side).flip(1)  # row by row, from the top
    density = mixture.log_density(grid, torch.full((len(grid),), sigma)).exp().view(PIXELS, PIXELS)
    colour = np.zeros((PIXELS, PIXELS, 4), np.uint8)
    colour[..., :3] = (232, 121, 32)
    colour[..., 3] = (density / density.max() * 200).round().byte().numpy()
    file = BytesIO()
    Image.fromarray(colour).save(file, "png")
    address = f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"
    shown = f'<image href="{address}" x="-9" y="-9" width="18" height="18" preserveAspectRatio="none"/>'
    if arrows:
        shown += _arrows(sigma)
    if points is not None:
        is_minor = mixture.distances(points).argmin(1) == 0
        for name, some in (("minor", points[is_minor]), ("major", points[~is_minor])):
            dots = "".join(f"M{x:.2f} {-y:.2f}h0" for x, y in some.tolist())
            shown += f'<path class="{name}" d="{dots}"/>'
    label = f"the mixture with noise of σ = {sigma:.3g}"
    return f'<svg class="plane" viewBox="-9 -9 18 18" role="img" aria-label="{label}">{shown}</svg>'


def _arrows(sigma: float) -> str:
    """The score on a grid; the longest arrow reaches to the next point, and lengths are square roots."""
    side = torch.linspace(-HALF_SIDE, HALF_SIDE, ARROWS + 2)[1:-1]
    at = torch.cartesian_prod(side, side)
    score = mixture.score(at, torch.full((len(at),), sigma))
    size = score.norm(dim=1, keepdim=True)
    arrow = score / size.clamp(min=1e-12) * (size / size.max()).sqrt() * (side[1] - side[0])
    path = ""
    for (x, y), (dx, dy) in zip((at - arrow / 2).tolist(), arrow.tolist(), strict=True):
        tip_x, tip_y = x + dx, y + dy
        path += f"M{x:.2f} {-y:.2f}L{tip_x:.2f} {-tip_y:.2f}"
        for turn in (2.6, -2.6):
            c, s = 0.35 * math.cos(turn), 0.35 * math.sin(turn)
            path += f"M{tip_x:.2f} {-tip_y:.2f}l{c * dx - s * dy:.2f} {-(s * dx + c * dy):.2f}"
    return f'<path class="arrows" d="{path}"/>'


def chains(seed: int, steps_per_level: int) -> Iterator[tuple[str, str]]:
    """Langevin and annealed Langevin dynamics on the mixture, as many steps each, live; see `figures/fig3.py`."""
    sigmas = noise.geometric(SIGMA_MAX, SIGMA_MIN, LEVELS)
    draws = [Draws(seed, name) for name in ("langevin", "annealed")]
    start = START * (2 * Draws(seed, "start").uniform(CHAINS, 2) - 1)
    steps = LEVELS * steps_per_level
    langevin = Langevin(steps=steps, step_size=STEP_SIZE)(mixture.score, start, sigmas, normal=draws[0].normal)
    annealed = AnnealedLangevin(steps_per_level=steps_per_level, step_size=STEP_SIZE)
    both = zip(langevin, annealed(mixture.score, start, sigmas, normal=draws[1].normal), strict=True)
    yield _panel("Langevin", start, SIGMA_MIN, 0, steps), _panel("Annealed", start, SIGMA_MAX, 0, steps)
    for step, (one, other) in enumerate(both, 1):
        if step % max(1, steps // PICTURES) == 0 or step == steps:
            level = float(sigmas[other.level])
            yield _panel("Langevin", one.x, SIGMA_MIN, step, steps), _panel("Annealed", other.x, level, step, steps)


def _panel(name: str, x: Tensor, sigma: float, step: int, steps: int) -> str:
    share = mixture.minority_weight(x)
    return (
        f"{plane(sigma, points=x)}<p class='note'><b>{name}</b>, σ = {sigma:.3g}, step {step:,} of {steps:,}. In the "
        f"small mode: <b>{share:.0%}</b> of the chains; it should be {mixture.WEIGHTS[0]:.0%}.</p>"
    )


def losses(network: Network) -> Iterator[str]:
    """The held-out loss of a network, level by level from the largest, as a chart.

    Raises:
        ConfigError: its images are not on this machine.
    """
    levels = network.score.sigmas
    images = network.training_data().images("val")[:LOOKED_AT]
    places = torch.linspace(0, len(levels) - 1, min(MOST_LEVELS, len(levels))).round().long()
    given, found = _score_of(network, images), list[tuple[float, float, float]]()
    for place in places.tolist():
        level = levels[place : place + 1]
        loss = loss_by_level(given, images, level, device=network.device, progress=False)
        found.append((float(level), loss.twice_the_loss_per_dim[0], loss.squared_score_per_dim[0]))
        yield _chart(found, len(images))


def _score_of(network: Network, images: Tensor) -> Score:
    """Of images, uint8 (N, C, H, W), which are damaged as in training where the network is given that."""
    condition = network.score.condition
    if not isinstance(condition, Damage):
        return network.score.network
    x = to_unit_interval(images).to(network.device)
    draws = Draws(0, "damage", device=network.device)
    if not isinstance(condition, Pairs):
        return score_given(network.score.network, condition(x, None, draws))
    damaged = network.given_images()[: len(images)]
    given = condition(x, None, draws, damaged=to_unit_interval(damaged).to(network.device))
    return score_given(network.score.network, given)


def _chart(found: list[tuple[float, float, float]], images: int) -> str:
    lines = [
        Line("2 × loss", [(sigma, loss) for sigma, loss, _ in found], FIRST, dots=True),
        Line("size of the score", [(sigma, size) for sigma, _, size in found], SECOND, dots=True),
        Line("sum", [(sigma, loss + size) for sigma, loss, size in found], THIRD, dashed=True),
    ]
    note = (
        f"Of {images} images that the network was not trained on, per pixel and channel. For the true score the sum "
        "is 1 at every level. The loss is what cannot be told of the noise: of little noise nearly all, of much "
        "hardly any."
    )
    chart = line_chart("Loss by noise level", lines, "σ", log_x=True, include_zero=True, level=1.0, note=note)
    return "" if chart is None else f'<div class="from-report">{render_chart(chart)}</div>'


def tab(networks: Networks, device: Device) -> None:
    network = networks.first
    with gr.Row(elem_classes="studio"):
        with gr.Column(min_width=300):
            gr.HTML(showing.heading("A density whose score is known") + showing.note(OF_THE_SCORE))
            sigma = gr.Slider(SIGMA_MIN, SIGMA_MAX, value=SIGMA_MIN, step=0.1, label="Noise level σ", elem_id="sigma")
        with gr.Column(min_width=300):
            field = gr.HTML(plane(SIGMA_MIN, arrows=True), elem_id="field")
    gr.HTML(showing.heading("Why annealing works") + showing.note(OF_ANNEALING))
    with gr.Row(elem_classes="studio"):
        steps = gr.Slider(10, 200, value=100, step=10, label="Steps per level", min_width=160)
        seed = seed_field()
        start = gr.Button("Run both", variant="primary", elem_id="toy-start", scale=0, min_width=160)
        stop = gr.Button("Stop", elem_id="toy-stop", scale=0, min_width=120)
    with gr.Row(elem_classes="studio"):
        with gr.Column(min_width=300):
            plain = gr.HTML(elem_id="toy-langevin")
        with gr.Column(min_width=300):
            annealed = gr.HTML(elem_id="toy-annealed")
    about = "Measured on images that it has not seen in training; the noise is the same at all levels."
    if network.estimates:
        about = "It was trained by regression, which knows no noise: there is nothing to measure."
    gr.HTML(showing.heading(f"The loss of {network.name} by noise level") + showing.note(about))
    with gr.Row(elem_classes="studio", visible=not network.estimates):
        measure = gr.Button("Measure", variant="primary", elem_id="loss-start", scale=0, min_width=160)
        halt = gr.Button("Stop", elem_id="loss-stop", scale=0, min_width=120)
    chart = gr.HTML(elem_id="loss")

    def run(steps: int, seed: int) -> Iterator[tuple[str, str]]:
        for both in chains(seed, int(steps)):
            yield both
            time.sleep(0.06)  # to be followed by eye

    def look() -> Iterator[str]:
        with told():
            yield from losses(network)

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    sigma.input(
        lambda sigma: plane(sigma, arrows=True),
        [sigma],
        [field],
        trigger_mode="always_last",
        concurrency_limit=4,
        **quiet,
    )
    running = start.click(run, [steps, seed], [plain, annealed], concurrency_limit=4, **quiet)
    stop.click(None, cancels=[running])
    looking = measure.click(look, None, [chart], **quiet, **device.limit)
    halt.click(None, cancels=[looking])
