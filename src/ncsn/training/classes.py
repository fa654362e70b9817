"""The classes of a data set, for `condition=label` of train.py."""

import inspect

from hydra.utils import get_object
from omegaconf import DictConfig

from ncsn.conditions import Label
from ncsn.config import build
from ncsn.data import ImageDataModule
from ncsn.errors import ConfigError


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
    network = config.model["_target_"]
    if "num_classes" not in inspect.signature(get_object(network)).parameters:
        raise ConfigError(f"condition=label: {network} takes no labels (num_classes); train model=unet")
    data: ImageDataModule = build(config.data, "data")
    classes = data.classes()
    if classes is None:
        raise ConfigError(
            f"condition=label: data={data.name} has no labels; digits, mnist and cifar10 have, celeba with "
            "data.attribute=Smiling, and image_folder with a subfolder for each class"
        )
    if given not in (None, len(classes)):
        raise ConfigError(f"model.num_classes={given}: data={data.name} has {len(classes)} classes; leave it out")
    chosen = config.copy()
    chosen.model.num_classes = len(classes)
    chosen.condition.num_classes, chosen.condition.names = len(classes), list(classes)
    return chosen
