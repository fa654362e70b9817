"""The classes that images are drawn for, as a user names them."""

from torch import Tensor

from ncsn.conditions import Condition, Label
from ncsn.errors import ConfigError, shown

WIDEST = 32  # images in a row of a picture


def chosen_labels(condition: Condition | None, label: int | str | None, guidance: float, *, many: bool) -> list[int]:
    """The numbers of the classes that images are drawn for, in turn; empty for none.

    Args:
        condition: of the network.
        label: a number, a name, "all", or None.
        guidance: its strength.
        many: whether the task can do with several classes.

    Raises:
        ConfigError: naming the key, and what is allowed.
    """
    if not isinstance(condition, Label):
        key = f"label={label}" if label is not None else f"guidance={guidance}"
        if label is None and guidance == 1:
            return []
        raise ConfigError(f"{key}: the network was trained without labels (condition=label); leave it out")
    if condition.dropout == 0 and (label is None or guidance != 1):
        raise ConfigError(
            f"label={label}, guidance={guidance}: the network was trained with condition.dropout=0 and has no score "
            "for no class; give label=all, a name or a number, with guidance=1"
        )
    if label is None:
        if guidance != 1:
            raise ConfigError(f"guidance={guidance}: guides towards a class; give label=all, a name or a number")
        return []
    if label == "all":
        if not many:
            raise ConfigError("label=all: goes with task=generate and task=interpolate; give one class")
        return list(range(condition.num_classes))
    try:
        return [condition.find(label)]
    except ValueError as error:
        raise ConfigError(f"label={label}: {shown(str(error), 1000)}, or all") from error


def labels_in_turn(labels: list[int], count: int) -> list[int]:
    """Of so many images, whose classes take turns."""
    return [labels[image % len(labels)] for image in range(count)]


def rows_by_class(samples: Tensor, num_classes: int) -> tuple[Tensor, int | None]:
    """One row per class, of samples (N, C, H, W) whose classes take turns, and its length; what is left over is not
    shown.
    """
    columns = min(len(samples) // num_classes, WIDEST)
    if columns == 0:
        return samples, None
    rows = samples[: columns * num_classes].unflatten(0, (columns, num_classes))
    return rows.transpose(0, 1).flatten(0, 1), columns
