"""Samples that a network draws to be scored."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from omegaconf import DictConfig

from ncsn.config import build
from ncsn.evaluation.image_sets import ImageSet, images_of
from ncsn.sampling.drawing import draw_into
from ncsn.sampling.effort import check_effort
from ncsn.sampling.folder import SampleFolder
from ncsn.sampling.prepare import Prepared, build_trainer, prepare
from ncsn.sampling.tasks import Generate


@dataclass(frozen=True)
class OwnSamples:
    """Samples of a network, drawn or still to be drawn.

    Attributes:
        config: how.
        prepared: the network and its sampler.
        task: what is drawn.
        out: the folder for them; None for one of the network's run.
    """

    config: DictConfig
    prepared: Prepared
    task: Generate
    out: str | None

    @classmethod
    def of(cls, config: DictConfig, path: Path, num_samples: int, out: str | None) -> "OwnSamples":
        """So many samples of a checkpoint; nothing is written yet.

        Args:
            config: checked, with a task that generates.

        Raises:
            UserError: the checkpoint is not what it should be, or the sampler or the task refuses it.
        """
        prepared = prepare(config, path)
        given = {"score": prepared.score, "sampler": prepared.sampler, "num_samples": num_samples}
        task: Generate = build(config.task, "task", **given, label=config.label, guidance=config.guidance)
        return cls(config, prepared, task, out)

    @cached_property
    def folder(self) -> SampleFolder:
        """Where they lie; made when it is first asked for, which is after all that may be refused."""
        size = min(self.config.batch_size, self.task.num_chains)
        return self.prepared.folder(self.task, self.out, seed=self.config.seed, batch_size=size)

    def draw(self) -> ImageSet:
        """Draws them unless they are there."""
        trainer, batch_size = build_trainer(self.config.trainer), self.config.batch_size
        place = self.prepared.checkpoint if self.out is None else Path(self.out)
        check_effort(self.task, trainer, place, batch_size=batch_size, confirm=self.config.confirm)
        draw_into(self.folder, self.task, trainer, batch_size=batch_size, seed=self.config.seed)
        return images_of(self.folder.path / "samples.npz")
