"""What the data says of the network: its classes, for `condition=label`, and the labels of `data.augment`; and its
channels, where it is given damaged images. And what `objective=regression` says of noise and sampler.
"""

import inspect

import torch
from hydra.utils import get_object
from omegaconf import DictConfig

from ncsn.conditions import Label
from ncsn.config import as_config_error, build
from ncsn.damage import Damage, Pairs, name_of
from ncsn.data import ImageDataModule
from ncsn.data.augmentation import NUM_LABELS
from ncsn.errors import ConfigError
from ncsn.objectives import image_regression
from ncsn.random import Draws
from ncsn.sampling.recommended import REGRESSION


def resolve_conditions(config: DictConfig) -> DictConfig:
    """A checked configuration whose network takes what its condition and its data give.

    Raises:
        ConfigError: the network does not take it, or the images do not have it.
        DataError: the images, where these say what the classes are, are missing.
    """
    return resolve_regression(resolve_damage(resolve_augmentation(resolve_classes(config))))


def resolve_classes(config: DictConfig) -> DictConfig:
    """A checked configuration with the classes of its data set in `condition` and `model`, where it trains on labels.

    Raises:
        ConfigError: the data set has no labels, or the network takes none.
        DataError: the images, where these say what the classes are, are missing.
    """
    condition, given = config.get("condition"), config.model.get("num_classes")
    if condition is None:
        if given is not None:
            raise ConfigError(f"model.num_classes={given}: goes with condition=label, which says it; leave it out")
        return config
    if get_object(condition["_target_"]) is not Label:
        return config
    _require_argument(config, "num_classes", "condition=label: {network} takes no labels")
    data: ImageDataModule = build(config.data, "data")
    classes = data.classes()
    if classes is None:
        raise ConfigError(
            f"condition=label: data={data.name} has no labels; digits, mnist and cifar10 have, celeba with "
            "data.attribute=Smiling, and image_folder with a subfolder for each class and no image outside of them"
        )
    if given not in (None, len(classes)):
        raise ConfigError(f"model.num_classes={given}: data={data.name} has {len(classes)} classes; leave it out")
    chosen = config.copy()
    chosen.model.num_classes = len(classes)
    chosen.condition.num_classes, chosen.condition.names = len(classes), list(classes)
    return chosen


def resolve_augmentation(config: DictConfig) -> DictConfig:
    """A checked configuration whose network is told how its images are augmented, where they are.

    Raises:
        ConfigError: the network cannot be told.
    """
    probability, given = config.data.get("augment"), config.model.get("num_augmentation_labels")
    if not probability:
        if given is not None:
            raise ConfigError(
                f"model.num_augmentation_labels={given}: goes with data.augment, which says it; leave it out"
            )
        return config
    _require_argument(
        config, "num_augmentation_labels", f"data.augment={probability}: {{network}} cannot be told of it"
    )
    if given not in (None, NUM_LABELS):
        raise ConfigError(f"model.num_augmentation_labels={given}: data.augment has {NUM_LABELS}; leave it out")
    chosen = config.copy()
    chosen.model.num_augmentation_labels = NUM_LABELS
    return chosen


def resolve_damage(config: DictConfig) -> DictConfig:
    """A checked configuration whose network takes damaged images, where it is given some.

    Raises:
        ConfigError: it takes none, or these images cannot be damaged so.
    """
    condition, given = config.get("condition"), config.model.get("condition_channels")
    damage = None if condition is None else build(condition, "condition")
    if isinstance(damage, Pairs) != getattr(get_object(config.data["_target_"]), "paired", False):
        name = "null" if damage is None else name_of(damage)
        raise ConfigError(f"condition={name}: data={config.data.name}; data=pairs and condition=pairs go together")
    if not isinstance(damage, Damage):
        if given is not None:
            raise ConfigError(
                f"model.condition_channels={given}: goes with condition=inpaint and other damages; leave it out"
            )
        return config
    name, channels, size = name_of(damage), config.data.channels, config.data.image_size
    _require_argument(config, "condition_channels", f"condition={name}: {{network}} takes no damaged image")
    if given not in (None, channels):
        raise ConfigError(f"model.condition_channels={given}: the images have {channels}; leave it out")
    image = torch.zeros(1, channels, size, size)
    came = {"damaged": image} if isinstance(damage, Pairs) else {}
    with as_config_error(f"condition={name}"):
        damage(image, None, Draws(0), **came)
    chosen = config.copy()
    chosen.model.condition_channels = channels
    return chosen


def resolve_regression(config: DictConfig) -> DictConfig:
    """A checked configuration with one noise level and one evaluation, where damaged images are regressed on.

    Raises:
        ConfigError: the network is given no damaged images.
    """
    if get_object(config.objective["_target_"]) is not image_regression:
        return config
    condition = config.get("condition")
    if condition is None or not issubclass(get_object(condition["_target_"]), Damage):
        raise ConfigError(
            "objective=regression: estimates images from damaged ones; give condition=inpaint or another damage"
        )
    chosen = config.copy()
    chosen.noise = {"_target_": "ncsn.noise.geometric", "sigma_max": 1.0, "sigma_min": 1.0, "num_levels": 1}
    chosen.sampler = {"_target_": REGRESSION}
    return chosen


def _require_argument(config: DictConfig, name: str, told: str) -> None:
    network = config.model["_target_"]
    if name not in inspect.signature(get_object(network)).parameters:
        raise ConfigError(f"{told.format(network=network)} ({name}); train model=unet")
