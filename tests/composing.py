"""What the files of `conf` become with a command line."""

import re
from collections.abc import Sequence
from functools import cache

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from ncsn.commands.cli import CONF


def composed(arguments: str | Sequence[str] = "", name: str = "train") -> DictConfig:
    """The configuration of a command for these arguments; in a text, spaces part them."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(name, arguments.split() if isinstance(arguments, str) else list(arguments))


def asked(arguments: str | Sequence[str], name: str = "train") -> DictConfig:
    """The same, sooner: groups that are chosen are composed once for all tests, and values put in their places."""
    words = arguments.split() if isinstance(arguments, str) else arguments
    groups = [word for word in words if (CONF / word.partition("=")[0]).is_dir()]
    values = [word for word in words if word not in groups]
    if not all(re.match(r"(?!hydra)[\w.]+=", value) for value in values):  # Hydra's own, what is added or left out
        return composed(words, name)
    config = _of_groups(tuple(groups), name).copy()
    for override in OverridesParser.create().parse_overrides(values):
        OmegaConf.update(config, override.key_or_group, override.value())
    return config


_of_groups = cache(composed)
