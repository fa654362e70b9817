"""What a configuration that comes in a file may say.

A checkpoint or a run's folder may come from anybody, and its configuration says what is built. So that nothing of it
can be made to run:

- It is plain data: dictionaries, lists, text, numbers, truth values, null. No interpolation in it is resolved.
- It names only classes in the lists below, by their exact paths; nothing is imported to decide. A user admits
  classes of their own, `trust=["mypackage.MyNetwork"]`; a file never does.
- A path in it is followed only to where this project has put the decoded images of the data set before.
"""

import glob
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from ncsn.config import SPECIAL_KEYS
from ncsn.errors import DataError, shown

NETWORKS = ("ncsn.networks.EnergyNCSN", "ncsn.networks.NCSN", "ncsn.networks.NCSNv2", "ncsn.networks.UNet")
DATA_SETS = (
    "ncsn.data.CIFAR10",
    "ncsn.data.CelebA",
    "ncsn.data.Digits",
    "ncsn.data.FFHQ",
    "ncsn.data.ImageFolder",
    "ncsn.data.LSUN",
    "ncsn.data.MNIST",
    "ncsn.data.Pairs",
)
SAMPLERS = (
    "ncsn.restoration.Regression",
    "ncsn.samplers.AnnealedLangevin",
    "ncsn.samplers.AnnealedLangevin.from_snr",
    "ncsn.samplers.AnnealedLangevin.released",
    "ncsn.samplers.BudgetedLangevin",
    "ncsn.samplers.ConsistentAnnealedSampling",
    "ncsn.samplers.DDIM",
    "ncsn.samplers.DDPM",
    "ncsn.samplers.DPMSolverPP",
    "ncsn.samplers.HamiltonianMonteCarlo",
    "ncsn.samplers.Heun",
    "ncsn.samplers.Langevin",
    "ncsn.samplers.MetropolisLangevin",
    "ncsn.samplers.PredictorCorrector",
    "ncsn.samplers.UniPC",
)
CONDITIONS = (
    "ncsn.conditions.Label",
    "ncsn.damage.Colorize",
    "ncsn.damage.Inpaint",
    "ncsn.damage.Jpeg",
    "ncsn.damage.Multitask",
    "ncsn.damage.Pairs",
    "ncsn.damage.SuperResolution",
    "ncsn.damage.Uncrop",
)
BUILT = {"model": ("network", NETWORKS), "data": ("data set", DATA_SETS), "sampler": ("sampler", SAMPLERS)}
BUILT |= {"condition": ("condition", CONDITIONS)}  # which only networks that are given one have
"""What is built from a checkpoint, by the keys of its configuration; the rest of it is only read."""

TRAINING = (
    *(*NETWORKS, *DATA_SETS, *SAMPLERS, *CONDITIONS),
    "lightning.Trainer",
    "lightning.pytorch.loggers.TensorBoardLogger",
    "lightning.pytorch.loggers.WandbLogger",
    "ncsn.noise.LogNormal",
    "ncsn.noise.VE",
    "ncsn.noise.VP",
    "ncsn.noise.cosine",
    "ncsn.noise.ddpm",
    "ncsn.noise.geometric",
    "ncsn.noise.karras",
    "ncsn.objectives.SlicedScoreMatching",
    "ncsn.objectives.denoising_score_matching",
    "ncsn.objectives.denoising_with_control_variate",
    "ncsn.objectives.exact_score_matching",
    "ncsn.objectives.image_regression",
    "ncsn.training.checkpoints.Checkpoints",
    "ncsn.training.ema.EMA",
    "ncsn.training.ema.PowerFunctionEMA",
    "ncsn.training.finite.StopWhenNotFinite",
    "ncsn.training.levels.FromData",
    "ncsn.training.metrics.Metrics",
    "ncsn.training.muon.Muon",
    "ncsn.training.pictures.SampleImages",
    "ncsn.training.progress.ProgressBar",
    "ncsn.training.schedules.OverTime",
    "ncsn.training.schedules.constant",
    "ncsn.training.schedules.cosine",
    "ncsn.training.selection.SelectBest",
    *(f"torch.optim.{name}" for name in ("Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "SGD")),
)
"""What the record of a run may name when it is resumed: what `conf` names for train.py, and PyTorch's optimisers."""

_DEEPEST = 20
_MOST_VALUES = 10_000
_LONGEST = 100_000  # characters of a text
_LARGEST = 2**63  # of whole numbers
_MOST_PIXELS = 2**26  # of an image
_DATA_FOLDERS = ("data.root", "data.cache_dir")
_DEFAULT_ROOT = "data"


def plain(config: Any, path: Path) -> dict[str, Any]:
    """A configuration that came in a file, in plain containers.

    Raises:
        DataError: it is no configuration, it holds something else than plain values, or an interpolation.
    """
    if not isinstance(config, Mapping):
        raise DataError(f"{path}: no checkpoint of train.py (its configuration is no dictionary)")
    copy = _plain(config, "", path, count())
    assert isinstance(copy, dict)
    return copy


def _plain(value: Any, key: str, path: Path, number: Iterator[int], depth: int = 0) -> Any:
    if next(number) > _MOST_VALUES:  # a small file can name one list many times
        raise DataError(f"{path}: refused: larger than any configuration (over {_MOST_VALUES} values)")
    if depth > _DEEPEST:
        raise DataError(f"{path}: refused: its configuration has more than {_DEEPEST} levels")
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) and is_text(name) for name in value):
            raise DataError(f"{path}: refused: {shown(key) or 'its configuration'} has keys that are not text")
        below = {name: f"{key}.{name}" if key else name for name in value}
        return {str(name): _plain(item, below[name], path, number, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{key}[{index}]", path, number, depth + 1) for index, item in enumerate(value)]
    if isinstance(value, str) and "${" in value:
        raise DataError(
            f"{path}: refused, and nothing in it was run: {shown(key)}={shown(value)} is an interpolation, where a "
            "configuration in a file holds plain values"
        )
    if value is not None and type(value) not in (bool, int, float, str):
        raise DataError(f"{path}: refused: {shown(key)} in its configuration is a {type(value).__name__}")
    if isinstance(value, int) and abs(value) >= _LARGEST:
        raise DataError(f"{path}: refused: {shown(key)} in its configuration is a number of over 64 bits")
    if isinstance(value, str) and not is_text(value):
        raise DataError(f"{path}: refused: {shown(key)} in its configuration is no text, or a very long one")
    return value


def check_targets(config: dict[str, Any], path: Path, trust: Collection[str] = ()) -> None:
    """Refuses a configuration, plain already, of which something else than known or trusted classes would be built.

    Args:
        trust: import paths of the user's own classes.

    Raises:
        DataError: naming what was refused, and how to admit it.
    """
    trust = tuple(trust)
    for key, (kind, known) in BUILT.items():
        if config.get(key) is None:
            continue
        own, *within = targets(config[key])
        for target, admitted in [(own, (*known, *trust)), *((target, trust) for target in within)]:
            if target not in admitted:
                raise DataError(
                    f"{path}: refused, and nothing in it was run: its configuration names {shown(target)} as its "
                    f"{key}, which is no {kind} of this project; if that is a class of your own, say "
                    f"trust=[{shown(target)}]"
                )
        for special in _special_keys(config[key], trust):
            raise DataError(f"{path}: refused: {key} in its configuration has the key {special}")


def refusals(value: Any, key: str, trust: Collection[str], exempt: Collection[str] = ()) -> Iterator[str]:
    """What the record of a run may not say when it is resumed, of a value and all that is in it.

    Args:
        value: of a key.
        key: its path.
        trust: import paths of the user's own classes.
        exempt: keys that the command line sets.
    """
    name = re.split(r"[.\[\]]+", key.strip("[]."))[-1]
    if isinstance(value, dict):
        for below, item in value.items():
            yield from refusals(item, f"{key}.{below}" if key else str(below), trust, exempt)
    elif isinstance(value, list):
        for item in value:
            yield from refusals(item, key, trust, exempt)
    elif key in exempt:
        return
    elif value is not None and type(value) not in (bool, int, float, str):
        yield "is no plain value"
    elif name == "_target_":
        if value not in (*TRAINING, *trust, None):
            yield f"names {shown(value)}, no class of this project (if it is one of yours: trust=[{shown(value)}])"
    elif name in SPECIAL_KEYS and not (name == "_partial_" and isinstance(value, bool)):
        yield f"sets {name}"
    elif isinstance(value, str) and key in _DATA_FOLDERS:
        if is_elsewhere(value) and not holds_decoded_images(Path(value, "cache" if name == "root" else "")):
            yield "leads to a folder that holds no decoded images"
    elif isinstance(value, str) and key != "run_root" and is_elsewhere(value):  # resuming has no use for run_root
        yield "leads to another folder"


def targets(node: Any) -> Iterator[Any]:
    """Everything that is named with `_target_` in plain containers, that of the node itself first."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield node["_target_"]
        for value in node.values():
            yield from targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from targets(value)


def _special_keys(node: Any, trust: Collection[str]) -> Iterator[str]:
    """Hydra's keys beside `_target_`, where the class is not one that the user trusts."""
    if isinstance(node, dict):
        if node.get("_target_") not in trust:
            yield from (key for key in SPECIAL_KEYS[1:] if key in node)
        for value in node.values():
            yield from _special_keys(value, trust)
    elif isinstance(node, list):
        for value in node:
            yield from _special_keys(value, trust)


def check_data(data: dict[str, Any], path: Path) -> None:
    """Refuses a description of images that is none.

    Raises:
        DataError: its sizes are no sizes, or its name would lead out of the folder of decoded images.
    """
    for key in ("channels", "image_size"):
        if type(data[key]) is not int or data[key] < 1:
            raise DataError(f"{path}: data.{key}={shown(data[key])} in its configuration: must be a positive integer")
    if data["channels"] * data["image_size"] ** 2 > _MOST_PIXELS:
        size = f"{data['image_size']}×{data['image_size']}×{data['channels']}"
        raise DataError(f"{path}: images of {size} in its configuration: must be of at most {_MOST_PIXELS:,} values")
    for key in ("name", "category", "attribute"):
        none = key == "attribute" and data.get(key) is None
        if key in data and not none and not (isinstance(data[key], str) and is_plain_word(data[key])):
            raise DataError(f"{path}: data.{key}={shown(data[key])} in its configuration: must be a name, no path")


def on_this_machine(data: dict[str, Any]) -> dict[str, Any]:
    """The data set of a checkpoint's configuration, checked, with the folders that it has here.

    Those of the configuration if the images were decoded there before; otherwise those of a new configuration.
    """
    root, cache = data.get("root"), data.get("cache_dir")
    if not isinstance(root, str):
        root = _DEFAULT_ROOT
    folder = Path(cache) if isinstance(cache, str) else Path(root, "cache")
    if holds_decoded_images(folder, f"{glob.escape(str(data.get('name')))}-train-{data['image_size']}px-*"):
        return data
    return data | {"root": _DEFAULT_ROOT} | ({"cache_dir": None} if "cache_dir" in data else {})


def holds_decoded_images(folder: Path, name: str = "*-train-*px-*") -> bool:
    """Whether a folder is one in which this project keeps decoded images, by default of any data set."""
    with suppress(OSError, ValueError):  # of what can be no path
        if re.match(r"[\\/]{2}", str(folder)):  # another machine's, which a mere look would call
            return False
        return any(folder.glob(name))
    return False


def is_elsewhere(path: str) -> bool:
    """Whether a path leads out of the working folder, on any system, or is the address of something else."""
    return bool(re.match(r"[/~]|[A-Za-z]:", path)) or ".." in path.split("/") or "\\" in path or "://" in path


def is_plain_word(text: str) -> bool:
    """Whether a text can be the name of a file or folder, and leads nowhere else."""
    return re.fullmatch(r"[\w+-][\w .+-]{0,99}", text) is not None


def is_text(value: str) -> bool:
    """Whether a text can be written, and is no longer than one in a configuration is."""
    return len(value) <= _LONGEST and not re.search(r"[\ud800-\udfff]", value)
