"""What the files of `conf` become with a command line."""

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from ncsn.commands.cli import CONF


def composed(arguments: str = "", name: str = "train") -> DictConfig:
    """The configuration of a command for these arguments, which spaces part."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(name, arguments.split())
