"""Another network, whose held-out losses stand beside those of the one in question."""

import torch
from omegaconf import DictConfig
from torch import Tensor

from ncsn.checkpoint import TrainedScore, resolve
from ncsn.damage import Damage
from ncsn.data.cache import fingerprint
from ncsn.errors import ConfigError
from ncsn.evaluation.evaluator import Network
from ncsn.sampling.prepare import load


def network_against(config: DictConfig, score: TrainedScore) -> Network:
    """The network that another is compared with.

    Args:
        config: checked, with a checkpoint as `against`.
        score: the other network.

    Raises:
        ConfigError: their losses do not compare.
    """
    path = resolve(config.against).resolve()
    other = load(config, path, assume=False)
    if isinstance(other.condition, Damage):
        raise ConfigError(f"against={config.against}: restores damaged images; its losses compare with no others")
    if not torch.equal(other.sigmas, score.sigmas):
        raise ConfigError(
            f"against={config.against}: has other noise levels ({_ladder(other.sigmas)}, not "
            f"{_ladder(score.sigmas)}); losses compare at the same ones only"
        )
    if other.image_shape != score.image_shape:
        raise ConfigError(
            f"against={config.against}: has images of {other.image_shape}, not {score.image_shape}; losses "
            "compare on the same ones only"
        )
    identity = {"path": str(path), "file": fingerprint([path], path.parent), "weights": other.weights}
    return Network(config.against, other, identity)


def _ladder(sigmas: Tensor) -> str:
    return f"{len(sigmas)} from {sigmas[0]:.3g} to {sigmas[-1]:.3g}"
