"""The networks of the page: which there are, and what is known of each on this machine."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from threading import Lock

import torch
from omegaconf import DictConfig
from torch import Tensor

from ncsn.checkpoint import TrainedScore, resolve
from ncsn.conditions import Label
from ncsn.damage import Damage, Pairs
from ncsn.data import ImageDataModule
from ncsn.errors import ConfigError, UserError
from ncsn.runs.folder import Run, step_of
from ncsn.sampling.prepare import load
from ncsn.sampling.recommended import is_regression
from ncsn.sampling.tasks.images import training_data

log = logging.getLogger(__name__)

LOADED = 3  # networks in memory at a time
MOST_CHECKPOINTS = 20  # of a run, to choose from


@dataclass(frozen=True)
class Network:
    """A network, and the images it was trained on, where they are at hand.

    Attributes:
        name: as the page calls it.
        score: on `device`.
    """

    name: str
    score: TrainedScore
    device: torch.device

    @property
    def draws(self) -> bool:
        """Whether it draws images from nothing; otherwise it restores damaged ones."""
        return not isinstance(self.score.condition, Damage)

    @property
    def estimates(self) -> bool:
        """Whether it was trained by regression: it has one estimate of an image and no score."""
        return is_regression(self.score)

    @property
    def classes(self) -> list[str]:
        """The names of its classes; empty for a network without labels."""
        label = self.score.condition
        if not isinstance(label, Label):
            return []
        return list(label.names) or [str(number) for number in range(label.num_classes)]

    @property
    def needs_class(self) -> bool:
        """Whether it draws nothing without a class, so that there is no guidance either."""
        return isinstance(self.score.condition, Label) and self.score.condition.dropout == 0

    @cached_property
    def data(self) -> ImageDataModule | None:
        """The data set it was trained on, decoded; None where it is not on this machine. Nothing is downloaded."""
        try:
            data = training_data(self.score)
            if hasattr(data, "download"):
                data.download = False
            data.prepare_data()
        except (UserError, OSError) as error:
            log.info(f"{self.name}: its data set is not at hand: {error}")
            return None
        return data

    def training_data(self) -> ImageDataModule:
        """The data set it was trained on.

        Raises:
            ConfigError: it is not on this machine.
        """
        if self.data is None:
            raise ConfigError(
                f"The images that {self.name} was trained on are not on this machine. If they are in another folder, "
                "start the studio with data.root=FOLDER."
            )
        return self.data

    def given_images(self) -> Tensor:
        """Held-out images to be restored, uint8 (N, C, H, W); where the data set has them damaged, these.

        Raises:
            ConfigError: they are not on this machine.
        """
        data = self.training_data()
        damaged = data.damaged("val") if isinstance(self.score.condition, Pairs) else None
        return data.images("val") if damaged is None else damaged


class Networks:
    """Those that the page offers, by their names; each is loaded when it is first asked for.

    What is offered is decided when the studio starts, by whoever starts it: the checkpoints given, and the others of
    their runs. A visitor chooses among these names and gives no paths.

    Args:
        config: of `ncsn studio`, checked.
        device: where the networks are.

    Raises:
        UserError: a checkpoint is not what it should be.
    """

    def __init__(self, config: DictConfig, device: torch.device) -> None:
        self.device = device
        self.paths: dict[str, Path] = {}
        given = [address for address in (config.ckpt, config.against) if address is not None]
        for address in given:
            self.paths[short(address)] = resolve(address)
        for path in list(self.paths.values()):
            self.paths |= _others_of_its_run(path, list(self.paths.values()))
        self._config, self._lock = config, Lock()
        self._load = lru_cache(LOADED)(self._load_anew)
        self.first = self.load(self.names[0])
        for name in self.names[1 : len(given)]:
            self.load(name)

    @property
    def names(self) -> list[str]:
        return list(self.paths)

    def load(self, name: str) -> Network:
        """The network of this name.

        Raises:
            UserError: there is none, or its checkpoint is not what it should be.
        """
        if name not in self.paths:
            raise ConfigError(f"{name}: no such network")
        with self._lock:
            return self._load(name)

    def _load_anew(self, name: str) -> Network:
        score = load(self._config, self.paths[name])
        score = replace(score, network=score.network.to(self.device), sigmas=score.sigmas.to(self.device))
        return Network(name, score, self.device)


def short(address: str) -> str:
    """What the page calls a checkpoint: the last parts of its path, or its whole address."""
    if "://" in address or address.startswith("builtin:"):
        return address
    return "/".join(Path(address).parts[-2:])


def _others_of_its_run(path: Path, known: Sequence[Path]) -> dict[str, Path]:
    """The other checkpoints of a run, evenly chosen, the newest first."""
    run = Run.of(path)
    if run is None:
        return {}
    taken = [each.resolve() for each in known]
    found = [each for each in reversed(run.checkpoints()) if each.resolve() not in taken]
    found = found[:: -(-len(found) // MOST_CHECKPOINTS) or 1]
    return {f"{run.path.name}, step {step_of(each):,}": each for each in found}


def device_of(name: str) -> torch.device:
    """The device that a user names; "auto" for a GPU if there is one.

    Raises:
        ConfigError: there is no such device.
    """
    if name == "auto":
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return found or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except Exception as error:  # each backend has its own ways to say that it is not there
        raise ConfigError(f"device={name}: no such device here; auto, cpu, cuda, cuda:1 or mps") from error
    return device
