"""The authors' checkpoints, completed by what was published, as the content of one of ours.

[model, optimiser]                     Song & Ermon 2019, every name with the prefix `module.`
[model, optimiser, epoch, step, EMA]   Song & Ermon 2020; model has the prefix and a buffer σ, EMA neither
[model, optimiser, epoch, step]        the same without an average
{name: tensor}                         any of these states on its own
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ncsn import noise
from ncsn.checkpoint.authors import PUBLISHED, Published, Shapes, rename_authors_state
from ncsn.checkpoint.tensors import FLOATS, check_ladder, is_plain_tensor
from ncsn.config import closest
from ncsn.errors import DataError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Assumptions:
    """What is known of an authors' checkpoint that the file does not say; None: what was published.

    Attributes:
        experiment: the published experiment, a name in `PUBLISHED` of authors.py; None: the one whose shapes agree.
        sigma_max, sigma_min, num_levels: of the geometric noise levels, where the file does not hold them.
        image_size: height and width of the images in pixels.
    """

    experiment: str | None = None
    sigma_max: float | None = None
    sigma_min: float | None = None
    num_levels: int | None = None
    image_size: int | None = None

    @property
    def given(self) -> dict[str, Any]:
        """Those that are not None."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def is_released(content: Any) -> bool:
    """Whether the content of a file is in one of the authors' formats."""
    state = content[0] if isinstance(content, list) and content else content
    return isinstance(state, Mapping) and any(
        str(name).removeprefix("module.").startswith(("begin_conv.", "end_conv.", "res1.", "refine1."))
        for name in state
    )


def read_released(content: Any, assumptions: Assumptions, path: Path) -> dict[str, Any]:
    """The content of one of our checkpoints, made of one of the authors'.

    Raises:
        DataError: its network was never released, or nothing that was published agrees with it.
    """
    parts = content if isinstance(content, list) else [content]
    model, average = parts[0], parts[4] if len(parts) > 4 else None
    for state in (model, *([] if average is None else [average])):
        if not isinstance(state, Mapping) or not all(
            isinstance(name, str) and is_plain_tensor(value) for name, value in state.items()
        ):
            raise DataError(f"{path}: no checkpoint of the authors: its state is not one of named tensors")
    try:
        shapes = Shapes.of(model)
    except ValueError as error:
        raise DataError(f"{path}: no checkpoint of the authors: {error}") from error
    stored = model.get("module.sigmas", model.get("sigmas"))
    if stored is not None:
        check_ladder(stored, path)
    published, note = _published(shapes, stored, assumptions, path)
    sigmas = _sigmas(shapes, stored, published, assumptions, path)
    config = _config(shapes, published, sigmas, assumptions.image_size)
    _say(shapes, published, note, config, stored is not None, path)
    raw = _ours(model, sigmas)
    weights = (
        {"state_dict": raw} if average is None else {"state_dict": _ours(average, sigmas), "current_model_state": raw}
    )
    return weights | {"hyper_parameters": config, "global_step": _step(parts)}


def _ours(state: Mapping[str, Tensor], sigmas: Tensor) -> dict[str, Tensor]:
    return {"sigmas": sigmas} | {f"network.{name}": value for name, value in rename_authors_state(state).items()}


def _published(shapes: Shapes, stored: Tensor | None, assumptions: Assumptions, path: Path) -> tuple[Published, str]:
    """The experiment that a file is taken for, and what speaks against it."""
    if assumptions.experiment is not None:
        if assumptions.experiment not in PUBLISHED:
            hint = closest(assumptions.experiment, PUBLISHED)
            raise DataError(f"experiment={assumptions.experiment}: never published{hint} ({', '.join(PUBLISHED)})")
        named = PUBLISHED[assumptions.experiment]
        if (named.architecture, named.depth) != (shapes.architecture, shapes.depth):
            raise DataError(f"{path}: experiment={named.name} has another network than {_network(shapes)}")
        return named, ""

    def distance(p: Published) -> tuple[float, ...]:
        levels = 0.0 if shapes.num_levels is None else abs(math.log(shapes.num_levels / p.num_levels))
        sigma_max = 0.0 if stored is None else round(abs(math.log(float(stored[0]) / p.sigma_max)), 3)
        return (levels > 0, sigma_max, levels, abs(shapes.num_filters - p.num_filters))

    alike = [
        p
        for p in PUBLISHED.values()
        if (p.architecture, p.depth, p.data["channels"]) == (shapes.architecture, shapes.depth, shapes.in_channels)
    ]
    if not alike:
        raise DataError(
            f"{path}: {_network(shapes)} for images of {shapes.in_channels} channel(s) was never published; name the "
            f"experiment whose sampler it should have (experiment=…), and its image_size"
        )
    best = min(alike, key=distance)
    others = [p.name for p in alike if p is not best and distance(p) == distance(best)]
    notes = [] if shapes.num_levels in (None, best.num_levels) else [f"which has {best.num_levels} levels"]
    notes += [f"{name} is as likely" for name in others]
    return best, f" ({'; '.join(notes)})" if notes else ""


def _sigmas(
    shapes: Shapes, stored: Tensor | None, published: Published, assumptions: Assumptions, path: Path
) -> Tensor:
    given = assumptions.given
    known = {"num_levels"} if shapes.num_levels is not None else set()
    if stored is not None:
        known |= {"sigma_max", "sigma_min"}
    for name in sorted(known & given.keys()):
        raise DataError(f"{path}: {name}={given[name]} cannot be given: the file says it itself")
    if stored is not None:
        return stored.float()
    try:
        return noise.geometric(
            given.get("sigma_max", published.sigma_max),
            given.get("sigma_min", published.sigma_min),
            given.get("num_levels", shapes.num_levels or published.num_levels),
        )
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def _config(shapes: Shapes, published: Published, sigmas: Tensor, image_size: int | None) -> dict[str, Any]:
    """The part of a configuration that those who sample and evaluate ask for."""
    data = published.data | {"channels": shapes.in_channels}
    if image_size is not None:
        data["image_size"] = image_size
    model = {
        "_target_": f"ncsn.networks.{shapes.architecture}",
        "image_size": data["image_size"],
        "in_channels": shapes.in_channels,
        "num_filters": shapes.num_filters,
    }
    return {
        "name": published.name,
        "data": data,
        "model": model | ({} if shapes.depth is None else {"depth": shapes.depth}),
        "noise": {
            "_target_": "ncsn.noise.geometric",
            "sigma_max": float(sigmas[0]),
            "sigma_min": float(sigmas[-1]),
            "num_levels": len(sigmas),
        },
        "sampler": {
            "_target_": "ncsn.samplers.AnnealedLangevin",
            "steps_per_level": published.steps_per_level,
            "step_size": 2 * published.step_lr,
            "denoise": published.denoise,
        },
    }


def _say(
    shapes: Shapes, published: Published, note: str, config: dict[str, Any], has_sigmas: bool, path: Path
) -> None:
    size, sampler, ladder = config["data"]["image_size"], config["sampler"], config["noise"]
    source = "in the file" if has_sigmas else "assumed"
    log.warning(
        f"{path.name}: {_network(shapes)}, {shapes.num_filters} filters, taken for experiment={published.name}{note}"
        f": {size}×{size} pixels, {ladder['num_levels']} levels from {ladder['sigma_max']:.4g} to "
        f"{ladder['sigma_min']:.4g} ({source}), T = {sampler['steps_per_level']}, ε = {sampler['step_size']:.4g}"
        + (", denoised" if sampler["denoise"] else "")
    )


def _network(shapes: Shapes) -> str:
    return shapes.architecture if shapes.depth is None else f"{shapes.architecture} ({shapes.depth})"


def _step(parts: list[Any]) -> int:
    """Steps of the optimiser, as the list has them, or Adam's own count."""
    if len(parts) > 3 and type(parts[3]) is int:
        return parts[3]
    optimizer = parts[1] if len(parts) > 1 and isinstance(parts[1], Mapping) else {}
    of_parameters = optimizer.get("state")
    counts = of_parameters.values() if isinstance(of_parameters, Mapping) else ()
    steps: list[Any] = [of.get("step") for of in counts if isinstance(of, Mapping)]
    return max((int(step) for step in steps if _is_number(step)), default=0)


def _is_number(step: Any) -> bool:
    """Whether it is what Adam counts with: a number, or a tensor of one finite element."""
    if isinstance(step, Tensor):
        is_number = is_plain_tensor(step) and step.dtype in (*FLOATS, torch.int64) and step.numel() == 1
        return is_number and bool(step.isfinite())
    return isinstance(step, int)
