"""Noise levels from a data set: `noise=from_data` of train.py, and the table that `ncsn noise` prints."""

import json
import logging
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor
from tqdm import tqdm

from ncsn import noise
from ncsn.config import build
from ncsn.data import ImageDataModule
from ncsn.errors import ConfigError, DataError
from ncsn.files import one_process_at_a_time, read_json, write_text
from ncsn.runs.folder import global_rank
from ncsn.samplers import AnnealedLangevin, Sampler

log = logging.getLogger(__name__)

FORMAT = 1  # raise it when the meaning of a kept distance changes

_GEOMETRIC = "ncsn.noise.geometric"


@dataclass(frozen=True)
class FromData:
    """Techniques 1 and 2 of Song & Ermon 2020 for the training images of a run.

    Attributes:
        sigma_max: σ₁; None takes the largest distance between two training images.
        sigma_min: σ_L.
        num_levels: L; None takes as many as overlap by `overlap`.
        overlap: of neighbouring levels.
        exact: False takes a lower bound on the largest distance, which a few passes over the images give.

    Raises:
        ValueError: a value out of range.
    """

    sigma_max: float | None = None
    sigma_min: float = 0.01
    num_levels: int | None = None
    overlap: float = noise.OVERLAP
    exact: bool = True

    def __post_init__(self) -> None:
        if self.num_levels is not None:
            noise.check_count(self.num_levels)
        noise.geometric(2 * self.sigma_min if self.sigma_max is None else self.sigma_max, self.sigma_min, 2)
        noise.level_ratio(1000, self.overlap)

    def choose(self, data: ImageDataModule, device: str = "cpu") -> tuple[dict[str, Any], noise.MaxDistance | None]:
        """The node of `noise=geometric` with the chosen values, and the distance they rest on, unless σ₁ was given.

        Raises:
            ConfigError: the images do not differ, or by less than σ_L.
            DataError: the data set is not what it should be.
        """
        found = None if self.sigma_max is not None else largest_distance(data, exact=self.exact, device=device)
        sigma_max = self.sigma_max if found is None else found.distance
        if sigma_max is None or sigma_max <= self.sigma_min:
            raise ConfigError(
                f"noise=from_data: the training images of {data.name} are at most {sigma_max:.3g} apart, no more "
                f"than noise.sigma_min={self.sigma_min}; give noise.sigma_max, or a smaller noise.sigma_min"
            )
        dimensions = data.channels * data.image_size**2
        levels = self.num_levels or noise.num_levels(sigma_max, self.sigma_min, dimensions, self.overlap)
        return {
            "_target_": _GEOMETRIC,
            "sigma_max": sigma_max,
            "sigma_min": self.sigma_min,
            "num_levels": levels,
        }, found


def is_from_data(config: DictConfig) -> bool:
    """Whether the noise levels of a configuration are still to be chosen."""
    return config.noise.get("_target_") == f"{FromData.__module__}.{FromData.__name__}"


def with_stand_ins(config: DictConfig) -> DictConfig:
    """The configuration with stand-in noise levels, for trying out everything that does not depend on them."""
    config = config.copy()
    config.noise = {"_target_": _GEOMETRIC, "sigma_max": 1.0, "sigma_min": 0.01, "num_levels": 2}
    return config


def resolve_levels(config: DictConfig, accelerator: str = "auto") -> DictConfig:
    """The configuration with numbers in place of `noise=from_data` and of Algorithm 1's `sampler.step_size=null`.

    What was computed is logged as a table.

    Raises:
        UserError: the configuration or the data are not what they should be.
    """
    sampler = build(config.sampler, "sampler")
    technique_4 = isinstance(sampler, AnnealedLangevin) and sampler.step_size is None
    if not (is_from_data(config) or technique_4):
        return config
    chosen, table = config.copy(), Table(config)
    if is_from_data(config):
        rule: FromData = build(config.noise, "noise")
        data: ImageDataModule = build(config.data, "data")
        chosen.noise, table.found = rule.choose(data, device_of(accelerator))
    sigmas = noise.ladder(build(chosen.noise, "noise"))
    if technique_4:
        try:
            chosen.sampler.step_size = sampler.epsilon(sigmas)
        except ValueError as error:
            raise ConfigError(f"sampler.{error}") from error
    if global_rank() == 0:
        log.info(table.text(sigmas, build(chosen.sampler, "sampler")))
    return chosen


def device_of(accelerator: str) -> str:
    """The device for the arithmetic, by the words of `trainer.accelerator`."""
    return "cuda" if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available() else "cpu"


def largest_distance(data: ImageDataModule, *, exact: bool = True, device: str = "cpu") -> noise.MaxDistance:
    """Technique 1 for the training images of a data set: computed by the first process that asks, and kept.

    It is kept beside the decoded images, in `distance.json`, with the identity of the images.

    Args:
        data: prepared here if need be.
        exact, device: see `noise.max_pairwise_distance`. Where an estimate would do, a kept exact distance is taken.

    Raises:
        DataError: the images are not there, or damaged.
    """
    folder = data.cache_folder("train")
    with one_process_at_a_time(folder.with_name(f"{folder.name}.distance")):
        data.prepare_data()
        path, key = folder / "distance.json", {"format": FORMAT, "images": data.identity("train")}
        kept = _read(path, key)
        if kept is not None and (kept.exact or not exact):
            return kept
        with _bar() as progress:
            found = noise.max_pairwise_distance(data.images("train"), exact=exact, device=device, progress=progress)
        try:
            write_text(path, json.dumps({**key, **asdict(found)}, indent=2))
        except OSError as error:
            log.warning(f"{path}: cannot be kept ({error.strerror}); it will be computed again")
        return found


def _read(path: Path, key: dict[str, Any]) -> noise.MaxDistance | None:
    try:
        kept = read_json(path)
        if {name: kept[name] for name in key} != key:
            return None
        return noise.MaxDistance(kept["distance"], (kept["pair"][0], kept["pair"][1]), kept["upper_bound"])
    except (DataError, KeyError, IndexError, TypeError):
        return None


@contextmanager
def _bar() -> Iterator[noise.Progress]:
    """A progress bar for each part of the work that takes more than two seconds."""
    layout = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
    with ExitStack() as current:
        bar: tqdm | None = None

        def progress(what: str, share: float) -> None:
            nonlocal bar
            if bar is None or bar.desc != f"σ₁, {what}":
                current.close()
                bar = current.enter_context(
                    tqdm(total=1.0, desc=f"σ₁, {what}", delay=2, leave=False, bar_format=layout)
                )
            bar.update(share - bar.n)

        yield progress


class Table:
    """What was chosen, and why.

    Args:
        config: as it was given: nodes `data`, `noise` and `sampler`.

    Attributes:
        found: the largest distance, if it was computed.
    """

    def __init__(self, config: DictConfig) -> None:
        self.config = config
        self.found: noise.MaxDistance | None = None

    def text(self, sigmas: Tensor, sampler: Sampler) -> str:
        """The table for the ladder (L,) and a sampler; step sizes are shown for Algorithm 1 alone."""
        size, channels = self.config.data.image_size, self.config.data.channels
        rows = list(self._levels(sigmas, channels * size**2))
        if isinstance(sampler, AnnealedLangevin) and len(sigmas) > 1:
            rows += self._steps(sigmas, sampler)
        name = self.config.data.get("name", "data")
        lines = [f"noise levels for {name}, {size}×{size}×{channels}: D = {channels * size**2:,}"]
        lines += [f"  {symbol:<5}{value:<12}{why}" for symbol, value, why in rows]
        if size in noise.PUBLISHED:
            sigma_max, levels = noise.PUBLISHED[size]
            lines.append(f"  published for {size} pixels: σ₁ = {sigma_max}, L = {levels} (noise=ncsnv2)")
        return "\n".join(lines)

    def _levels(self, sigmas: Tensor, dimensions: int) -> Iterator[tuple[str, str, str]]:
        node = self.config.noise
        yield "σ₁", f"{float(sigmas[0]):.6g}", self._why_sigma_max()
        yield "σ_L", f"{float(sigmas[-1]):.6g}", "as given"
        if len(sigmas) > 1:
            gamma = noise.ratio(sigmas)
            overlap = noise.level_overlap(gamma, dimensions)
            yield "γ", f"{gamma:.6g}", f"ratio of neighbouring levels, which overlap by {overlap:.3f}"
        by_rule = is_from_data(self.config) and node.get("num_levels") is None
        yield "L", f"{len(sigmas)}", f"technique 2, for an overlap of {node.overlap}" if by_rule else "as given"

    def _why_sigma_max(self) -> str:
        if self.found is None:
            return "as given"
        i, j = self.found.pair
        where = f"between training images {i} and {j}, counted from 0"
        if self.found.exact:
            return f"technique 1: the largest distance, {where}"
        return f"technique 1, estimated: the distance {where}; none is above {self.found.upper_bound:.4g}"

    def _steps(self, sigmas: Tensor, sampler: AnnealedLangevin) -> Iterator[tuple[str, str, str]]:
        sigma_min, gamma, steps = float(sigmas[-1]), noise.ratio(sigmas), sampler.steps_per_level
        epsilon, rule = sampler.epsilon(sigmas), noise.step_size(float(sigmas[-1]), noise.ratio(sigmas), steps)
        left = noise.ladder_variance_ratio(epsilon, sigma_min, gamma, steps)
        evaluations = sampler.num_steps(len(sigmas))
        yield "T", f"{steps}", f"as given; {evaluations:,} evaluations of the network per image"
        by_rule = math.isclose(epsilon, rule) and self.config.sampler.get("step_size", 0) is None
        why = "technique 4" if by_rule else f"as given; technique 4 would have {rule:.4g}"
        if math.isfinite(left):
            kept = f"chains leave each level with {left:.3f} of its noise's variance, where 1 is perfect"
        else:
            kept = "with this step the noise of the chains grows, and is not removed"
        yield "ε", f"{epsilon:.4g}", f"{why}; {kept}"
        yield "ε/2", f"{epsilon / 2:.4g}", "the same as the released code writes it, x + ε s + √(2ε) z: its step_lr"
        yield "snr", f"{noise.snr(epsilon, sigma_min):.4g}", "the same as Song et al. 2021 write it, √(ε/4)/σ_L"
