"""What restores the images of task=restore: the network that was asked for, and those that it is compared with."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from ncsn.checkpoint import resolve
from ncsn.config import build
from ncsn.damage import Damage, Multitask, name_of
from ncsn.errors import ConfigError
from ncsn.evaluation.classifier import Classifier
from ncsn.evaluation.evaluator import Origin
from ncsn.evaluation.features import FeatureNetwork, build_features, extract
from ncsn.evaluation.judge import Judge, Restored
from ncsn.evaluation.scores import ALL, FEWEST
from ncsn.files import read_record
from ncsn.random import Draws
from ncsn.samplers import num_evaluations
from ncsn.sampling.drawing import draw_into
from ncsn.sampling.effort import check_effort
from ncsn.sampling.prepare import Prepared, build_trainer, prepare
from ncsn.sampling.tasks import Restore
from ncsn.sampling.tasks.algorithm2 import Algorithm2
from ncsn.sampling.tasks.images import SPLITS, training_data

OURS = "restored"  # what tables call the network that was asked for


@dataclass(frozen=True)
class Method:
    """A network that restores images.

    Attributes:
        name: what tables call it.
        task: draws the restored images.
        prepared: the network.
    """

    name: str
    task: Restore | Algorithm2
    prepared: Prepared

    def draw(self, config: DictConfig, out: str | None) -> Restored:
        """Restores the images unless they are there, in a folder `out` or one of the network's run."""
        size = min(config.batch_size, self.task.num_chains)
        trainer, place = build_trainer(config.trainer), self.prepared.checkpoint if out is None else Path(out)
        check_effort(self.task, trainer, place, batch_size=config.batch_size, confirm=config.confirm)
        folder = self.prepared.folder(self.task, out, seed=config.seed, batch_size=size)
        draw_into(folder, self.task, trainer, batch_size=config.batch_size, seed=config.seed)
        settings = read_record(folder.path / "settings.json")
        score, sampler = self.prepared.score, self.task.sampler_of(range(1), Draws(0))
        evaluations = num_evaluations(sampler, len(score.sigmas))
        return Restored(self.name, folder.path, Origin(settings, score, evaluations))


def check_restoring(config: DictConfig) -> None:
    """Refuses what has no meaning for restored images.

    Raises:
        ConfigError: naming the key.
    """
    if config.ckpt is None or config.samples is not None:
        raise ConfigError("task=restore: is of a network; give ckpt=<checkpoint or run's folder>, and no samples=…")
    usual: dict[str, Any] = {"label": None, "guidance": 1.0, "reference": "train", "scores": set(ALL), "controls": []}
    for key, value in usual.items():
        if (set(config.scores) if key == "scores" else config[key]) != value:
            raise ConfigError(
                f"{key}={config[key]}: does not go with task=restore, which compares with the originals"
            )
    if config.task.get("num_images") != config.num_images:
        raise ConfigError(f"task.num_images={config.task.num_images}: here it is num_images={config.task.num_images}")
    if config.task.get("damaged"):
        raise ConfigError("task.damaged=true: has no originals to compare with; ncsn sample restores such images")
    if config.task.get("size", "network") != "network":
        raise ConfigError(
            f"task.size={config.task.size}: methods are compared on images of the network's size; leave it out"
        )
    if config.data.get("_target_") is not None:
        raise ConfigError(
            "data: does not go with task=restore; images are those of the network's own data set, or "
            "task.images=<folder>"
        )


def judged(config: DictConfig, path: Path) -> tuple[dict[str, Any] | None, Path]:
    """The record of images that a network and those of `against` have restored, and the folder that it lies in.

    Args:
        config: checked, with a task that restores.
        path: the network's checkpoint.

    Returns:
        None for the record on processes but the first.

    Raises:
        UserError: a checkpoint or the data are not what they should be, or do not go together.
    """
    ours, *others = methods_of(config, path)
    task = ours.task
    assert isinstance(task, Restore)
    if (count := len(task.given)) < FEWEST:
        raise ConfigError(f"num_images={count}: scores need at least {FEWEST} images")
    network, labels = _features(config, task)
    start = time.perf_counter()
    restored = [ours.draw(config, config.out), *(other.draw(config, None) for other in others)]
    seconds = {"sampling": time.perf_counter() - start}
    judge = Judge(build_trainer(config.trainer, precision="32-true"), network, task, labels, config.batch_size)
    return judge(restored, seconds), restored[0].folder


def _features(config: DictConfig, task: Restore) -> tuple[FeatureNetwork | None, Tensor | None]:
    """The feature network, None for none; and the classes of the originals, where it is a classifier of them."""
    if config.features.get("_target_") is None:
        return None, None
    data, labels = training_data(task.score), None
    network = build_features(config.features, data)
    extract(network, [task.given[:1]])  # what it refuses is told before anything is drawn
    if isinstance(network, Classifier) and task.images in SPLITS:
        labels = data.labels("train" if task.images == "train" else "val")
    return network, None if labels is None else labels[: len(task.given)]


def methods_of(config: DictConfig, path: Path) -> list[Method]:
    """The network at a path, and those of `against`; all of them restore the very same damaged images.

    Args:
        config: checked, with a task that restores.

    Raises:
        UserError: a checkpoint is not what it should be, or cannot restore these images.
    """
    prepared = prepare(config, path)
    given = {"score": prepared.score, "sampler": prepared.sampler, "num_samples": config.num_samples}
    task: Restore = build(config.task, "task", **given)
    if task.damaged:
        raise ConfigError(
            f"task.images={task.images}: has no originals to compare with (condition=pairs takes images of a folder "
            "for damaged ones); leave it out"
        )
    others = [config.against] if isinstance(config.against, str) else list(config.against or [])
    if len(set(others)) != len(others):
        raise ConfigError(f"against={others}: must be different checkpoints")
    return [Method(OURS, task, prepared), *(_other(config, task, name) for name in others)]


def _other(config: DictConfig, task: Restore, name: str) -> Method:
    """Another network on the images of a task: by Algorithm 2, if it was trained on no damage."""
    prepared = prepare(config, resolve(name), beside=True)
    score = prepared.score
    if score.image_shape != task.score.image_shape:
        raise ConfigError(f"against={name}: has images of {score.image_shape}, not {task.score.image_shape}")
    given: dict[str, Any] = {"score": score, "sampler": prepared.sampler}
    restores = isinstance(score.condition, Damage)
    try:
        if restores:
            other: Restore | Algorithm2 = replace(task, **given, damage=_damage_of(task))
        else:
            given |= {"num_samples": task.count, "images": task.images, "num_images": task.num_images}
            other = Algorithm2(**given, restored=task)
    except (ConfigError, ValueError, TypeError) as error:
        raise ConfigError(f"against={name}: {error}") from error
    if not torch.equal(other.given, task.given):
        raise ConfigError(f"against={name}: was trained on other data, whose task.images={task.images} are others")
    other.given, other.original = task.given, task.original  # which are large, and kept once
    same = other.condition.keys() == task.condition.keys()
    if not same or not all(torch.equal(rows, task.condition[key]) for key, rows in other.condition.items()):
        raise ConfigError(
            f"against={name}: damages these images in another way; of a network with condition=multitask, choose one "
            "(task.damage=jpeg)"
        )
    other.condition = task.condition
    return Method(name if restores else f"Algorithm 2, {name}", other, prepared)


def _damage_of(task: Restore) -> str | None:
    """By its name, so that networks for one damage and for several can be asked for it; None for several."""
    condition = task.score.condition
    assert isinstance(condition, Damage)
    return task.damage or (None if isinstance(condition, Multitask) else name_of(condition))
