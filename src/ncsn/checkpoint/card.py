"""The model card of a network, README.md in the format of the Hugging Face Hub."""

import inspect
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncsn import samplers
from ncsn.checkpoint.hub import sealed
from ncsn.checkpoint.reading import resolve
from ncsn.checkpoint.scored import NOTHING, Drawn
from ncsn.conditions import Label
from ncsn.errors import DataError, shown
from ncsn.runs.contents import Evaluation
from ncsn.runs.score_names import label

if TYPE_CHECKING:
    from ncsn.checkpoint.score import TrainedScore

PICTURE = "samples.png"

_DATA_SETS = {  # what they are called, and where the Hub has them
    "CIFAR10": ("CIFAR-10", "uoft-cs/cifar10"),
    "CelebA": ("CelebA", "flwrlabs/celeba"),
    "Digits": ("the handwritten digits of scikit-learn", None),
    "FFHQ": ("FFHQ", None),
    "ImageFolder": ("a folder", None),
    "LSUN": ("LSUN", None),
    "MNIST": ("MNIST", "ylecun/mnist"),
    "Pairs": ("a folder of pairs", None),
}
_PAPERS = {  # by arXiv's number: the title, and what in a configuration is from there
    "1907.05600": ("Generative Modeling by Estimating Gradients of the Data Distribution", None),
    "2006.09011": ("Improved Techniques for Training Score-Based Generative Models", {"NCSNv2", "FromData"}),
    "2006.11239": ("Denoising Diffusion Probabilistic Models", {"UNet", "DDPM", "ddpm"}),
    "2009.05475": (
        "Adversarial score matching and improved sampling for image generation",
        {"ConsistentAnnealedSampling"},
    ),
    "2010.02502": ("Denoising Diffusion Implicit Models", {"DDIM"}),
    "2011.13456": (
        "Score-Based Generative Modeling through Stochastic Differential Equations",
        {"PredictorCorrector", "from_snr", "VE", "VP"},
    ),
    "2102.09672": ("Improved Denoising Diffusion Probabilistic Models", {"cosine"}),
    "2111.05826": ("Palette: Image-to-Image Diffusion Models", {"damage"}),
    "2206.00364": (
        "Elucidating the Design Space of Diffusion-Based Generative Models",
        {"Heun", "LogNormal", "edm", "karras"},
    ),
    "2207.12598": ("Classifier-Free Diffusion Guidance", {"Label"}),
    "2211.01095": (
        "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models",
        {"DPMSolverPP"},
    ),
    "2302.04867": ("UniPC: A Unified Predictor-Corrector Framework for Fast Sampling", {"UniPC"}),
}


def model_card(
    score: "TrainedScore", repo: str, license: str = "unknown", checkpoint: str | Path | None = None
) -> tuple[str, Path | None]:
    """The text of README.md, and the picture that belongs beside it as `PICTURE`, if there is one.

    Args:
        score: the network.
        repo: user/repo, where it can be loaded from; or the name of a folder.
        license: the Hub's identifier of one.
        checkpoint: the run's folder or the file that the network is from, whose scores and samples are shown.

    Raises:
        DataError: it is no such identifier, there is no such checkpoint, or a record beside it is damaged.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", license):
        raise DataError(
            f"license={shown(license)}: must be the Hub's identifier of a licence, such as mit or cc-by-4.0"
        )
    drawn = NOTHING if checkpoint is None else Drawn.of(resolve(checkpoint), score)
    text = _text(score, repo, license, drawn)
    return sealed(text), drawn.picture


def _text(score: "TrainedScore", repo: str, license: str, drawn: Drawn) -> str:
    from huggingface_hub import ModelCardData

    results = list(_results(score, drawn))
    hub_data = _data_set(score)[1]
    papers = {number: title for number, (title, marks) in _PAPERS.items() if marks is None or marks & _marks(score)}
    metadata = ModelCardData(
        library_name="ncsn",
        license=license,
        pipeline_tag=_task(score),
        datasets=[hub_data] if hub_data else None,
        metrics=sorted({result.metric_type for result in results}) or None,
        tags=["ncsn", "score-based-generative-model", "image-generation", *(f"arxiv:{number}" for number in papers)],
        model_name=repo.rpartition("/")[2],
        eval_results=results or None,
    )
    parts = [
        f"---\n{metadata.to_yaml()}\n---",
        f"# {repo.rpartition('/')[2]}",
        _about(score),
        *([f"![Samples, drawn by this network]({PICTURE})"] if drawn.picture else []),
        "## Use",
        _usage(score, f"hf://{repo}" if "/" in repo else repo),
        *(["## Scores", _table(drawn)] if results else []),
        "## Papers",
        "\n".join(f"- [{title}](https://arxiv.org/abs/{number})" for number, title in papers.items()),
    ]
    return "\n\n".join(parts) + "\n\n"


def _task(score: "TrainedScore") -> str:
    """The Hub's name for what the network does."""
    return "image-to-image" if "damage" in _marks(score) else "unconditional-image-generation"


def _data_set(score: "TrainedScore") -> tuple[str, str | None]:
    """What the training images are called, and their identifier on the Hub."""
    data = score.config["data"]
    name, identifier = _DATA_SETS.get(_last(data), (str(data.get("name") or "images"), None))
    category = f" ({data['category']})" if data.get("category") else ""
    return name + category, identifier


def _marks(score: "TrainedScore") -> set[str]:
    """What the papers know a configuration by."""
    nodes = {key: score.config.get(key) or {} for key in ("model", "noise", "sampler", "condition")}
    damaged = str(nodes["condition"].get("_target_", "")).startswith("ncsn.damage.")
    return {*map(_last, nodes.values()), str(nodes["model"].get("form")), *(["damage"] if damaged else [])}


def _last(node: dict[str, Any]) -> str:
    """What a node builds, by its last name; empty where that is no name."""
    name = str(node.get("_target_", "")).rpartition(".")[2]
    return name if name.isidentifier() else ""


def _scores(evaluation: Evaluation) -> dict[str, float]:
    """Those that are numbers, without the standard deviations."""
    return {
        name: value
        for name, value in evaluation.scores.items()
        if value is not None and math.isfinite(value) and re.fullmatch(r"[a-z0-9_]+(?<!_std)", name)
    }


def _results(score: "TrainedScore", drawn: Drawn) -> Iterator[Any]:
    """Scores as the Hub's `EvalResult`, those that are numbers."""
    from huggingface_hub import EvalResult

    name, identifier = _data_set(score)

    def result(metric: str, value: float, split: Any, **how: Any) -> Any:
        return EvalResult(
            task_type=_task(score),
            dataset_type=identifier or str(score.config["data"].get("name") or "images"),
            dataset_name=name,
            dataset_split=split if isinstance(split, str) else None,
            metric_type=re.sub(r"_\d+k?$", "", metric),
            metric_name=label(metric),
            metric_value=round(value, 6),
            metric_args={key: value for key, value in how.items() if value is not None} or None,
        )

    for evaluation in drawn.evaluations:
        for metric, value in _scores(evaluation).items():
            yield result(
                metric,
                value,
                evaluation.reference.get("split"),
                num_samples=evaluation.num_samples,
                standard_deviation=evaluation.scores.get(f"{metric}_std"),
                sampler=_last(evaluation.sampler or {}) or None,
                network_evaluations=evaluation.network_evaluations,
            )
    for metric, value in drawn.bits.items():
        yield result(metric, value, None)


def _about(score: "TrainedScore") -> str:
    channels, height, width = score.image_shape
    millions = sum(parameter.numel() for parameter in score.network.parameters()) / 1e6
    weights = "the moving average of its weights" if score.weights == "ema" else "its weights"
    given = {
        "Label": f", given one of {getattr(score.condition, 'num_classes', 0)} classes or none",
        "": "",
    }.get(_last(score.config.get("condition") or {}), ", given a damaged image")
    steps = f" after {score.step:,} steps" if score.step else ""
    return (
        f"A score network, {_last(score.config['model'])}, of {millions:.2g} million parameters{given}: "
        f"images of {height}×{width} pixels in {channels} channel{'s' if channels > 1 else ''}, like those of "
        f"{_data_set(score)[0]}, and noise of {len(score.sigmas)} levels, σ from {float(score.sigmas[0]):.4g} to "
        f"{float(score.sigmas[-1]):.4g} for pixels in [0, 1]. The file holds {weights}{steps}, and its configuration."
    )


def _usage(score: "TrainedScore", address: str) -> str:
    """How to draw from it, in a terminal and in Python."""
    options = " task=restore" if _task(score) == "image-to-image" else ""
    if isinstance(score.condition, Label):
        options += " label=all" + (" guidance=1.5" if score.condition.dropout else "")
    terminal = f"```sh\nncsn sample ckpt={address}{options}\n```"
    found = _sampler(score.config["sampler"])
    if options.startswith(" task") or found is None:
        return terminal
    sampler, call = found
    lines = ["import ncsn, torch", "", f'score = ncsn.load_score("{address}")']
    given = "score"
    if isinstance(score.condition, Label):
        given = "given"
        classes = score.condition.num_classes
        lines.append(f"given = ncsn.Given(score, score.condition.of(torch.arange(16) % {classes}))")
    lines += [
        f"x = {_start(sampler)}",
        f"for state in {call}({given}, x, score.sigmas):",
        "    x = state.x  # images, (16, C, H, W), values around [0, 1]",
    ]
    return f"{terminal}\n\n```python\n" + "\n".join(lines) + "\n```"


def _start(sampler: Any) -> str:
    """Where its chains start, which `samplers.start` draws."""
    if getattr(sampler, "starts_from", "uniform") == "uniform":
        return "torch.rand(16, *score.image_shape)"
    return "0.5 + score.sigmas[0] * torch.randn(16, *score.image_shape)"


def _sampler(node: dict[str, Any]) -> tuple[Any, str] | None:
    """The class of a configuration's sampler, and the call that makes it, without what is so by default.

    None for a sampler of the user's own.
    """
    package, _, name = str(node["_target_"]).partition(".samplers.")
    if package != "ncsn":
        return None
    own, *constructor = name.split(".")
    sampler = getattr(samplers, own)
    make = getattr(sampler, *constructor) if constructor else sampler
    defaults = {name: parameter.default for name, parameter in inspect.signature(make).parameters.items()}
    settings = [f"{k}={v!r}" for k, v in node.items() if k in defaults and defaults[k] != v]
    return sampler, f"ncsn.samplers.{name}({', '.join(settings)})"


def _table(drawn: Drawn) -> str:
    rows = [
        (label(metric), f"{value:.4g}", f"{each.num_samples:,}", _last(each.sampler or {}), each.network_evaluations)
        for each in drawn.evaluations
        for metric, value in _scores(each).items()
    ]
    lines = ["| score | value | samples | sampler | evaluations per image |", "| --- | --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(str(cell or '') for cell in row)} |" for row in rows]
    lines += [f"| {label(metric)} | {value:.4g} | | | |" for metric, value in drawn.bits.items()]
    return "\n".join(lines)
