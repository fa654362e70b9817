"""Samples that a network draws to be scored."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from ncsn.config import build
from ncsn.evaluation.image_sets import ImageSet, images_of
from ncsn.sampling.drawing import draw_into
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
        folder: where they lie.
    """

    config: DictConfig
    prepared: Prepared
    task: Generate
    folder: SampleFolder

    @classmethod
    def of(cls, config: DictConfig, path: Path, num_samples: int, out: str | None) -> "OwnSamples":
        """So many samples of a checkpoint, in a folder `out` or one of its run.

        Args:
            config: checked, with a task that generates.

        Raises:
            UserError: the checkpoint is not what it should be, or the sampler or the task refuses it.
        """
        prepared = prepare(config, path)
        given = {"score": prepared.score, "sampler": prepared.sampler, "num_samples": num_samples}
        task: Generate = build(config.task, "task", **given, label=config.label, guidance=config.guidance)
        size = min(config.batch_size, num_samples)
        return cls(config, prepared, task, prepared.folder(task, out, seed=config.seed, batch_size=size))

    def draw(self) -> ImageSet:
        """Draws them unless they are there."""
        trainer = build_trainer(self.config.trainer)
        draw_into(self.folder, self.task, trainer, batch_size=self.config.batch_size, seed=self.config.seed)
        return images_of(self.folder.path / "samples.npz")
