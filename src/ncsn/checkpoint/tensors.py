"""What the tensors of a file may be, and how the pickles that hold them are read.

`torch.load(weights_only=True)` runs no code, but makes more than a checkpoint holds, and believes what it says of
sizes: memory that nobody wrote to, or beyond the file's. So a pickle is first read without it (`ncsn.pickles`): it
may name only what plain tensors are made of, and each of them has to lie within what is stored.
"""

import math
import os
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from ncsn.errors import DataError, shown
from ncsn.files import is_whole
from ncsn.noise import MOST_LEVELS
from ncsn.pickles import Name, PickleError, read_pickle

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""What the numbers of a file may be."""

_MOST_VALUES = 1_000_000
_DEEPEST = 30

_BYTES = {"Double": 8, "Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1}
_STORAGES = {f"torch.{kind}Storage": size for kind, size in (_BYTES | {"Bool": 1}).items()}
_DICTIONARY = "collections.OrderedDict"
_TENSORS = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
_PARAMETER = "torch._utils._rebuild_parameter"
_NAMES = {_DICTIONARY, *_TENSORS, _PARAMETER, *_STORAGES}


def load_tensors(path: Path, *, mmap: bool = False) -> Any:
    """What torch.save wrote: tensors, on the CPU, and plain values.

    Args:
        mmap: leave the values on the disk until they are asked for, where the format allows it.

    Raises:
        DataError: it cannot be read, or holds something else; nothing in it has been run.
    """
    try:
        if not path.is_file():
            raise ValueError("it is no file")
        if not is_whole(path):
            raise ValueError("damaged, its checksum is of other content")
        with path.open("rb") as file:
            is_archive = file.read(4) == b"PK\3\4"  # as PyTorch tells them apart
        _check_archive(path) if is_archive else _check_old(path)
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap and is_archive)
    except PickleError as error:
        raise DataError(
            f"{path}: refused, and nothing in it was run: a checkpoint holds tensors and plain values alone "
            f"({shown(error)})"
        ) from error
    except Exception as error:  # archives and tensors fail in many ways
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path}: cannot be read as a checkpoint ({shown(reason, 200)})") from error


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        if len({name.lower() for name in sizes}) < len(archive.infolist()):
            raise ValueError("it has two entries of one name")
        if sum(sizes.values()) > path.stat().st_size:
            raise ValueError("its entries are larger than the file")
        (pickled,) = (name for name in sizes if re.fullmatch(r"[^/]*/data\.pkl", name))
        folder = pickled.removesuffix(".pkl")
        with archive.open(pickled) as file:
            _Checked({name: size for name, size in sizes.items() if name.startswith(folder)}, f"{folder}/").read(file)


def _check_old(path: Path) -> None:
    """The format before PyTorch 1.6: pickles of a number, the version, the system; the content; the storages."""
    with path.open("rb") as file:
        for _ in range(3):
            _Checked(None).read(file)
        content = _Checked(None)
        content.read(file)
        if sum(content.seen.values()) > os.fstat(file.fileno()).st_size - file.tell():
            raise ValueError("its tensors are larger than the file")


class _Checked:
    """Reads a pickle of tensors to see what it asks for; tensors and parameters become None.

    Args:
        sizes: bytes by the names of storages, None where the file does not say; they begin with `folder`.
    """

    def __init__(self, sizes: Mapping[str, int] | None, folder: str = "") -> None:
        self.sizes, self.folder = sizes, folder
        self.seen: dict[str, int] = {}  # bytes by storage, as the pickle has them

    def read(self, file: IO[bytes]) -> None:
        read_pickle(file, _NAMES, self._call, self._build, self._refer)

    def _call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        if name == _DICTIONARY:
            return _Dictionary()
        if name == _PARAMETER and arguments and arguments[0] is None:
            return None
        if name not in _TENSORS:
            raise PickleError(f"it calls {name}")
        elements, offset, size, stride = arguments[:4]
        numbers = (offset, *size, *stride) if type(size) is type(stride) is tuple else (None,)
        if type(elements) is not _Elements or len(size) != len(stride):
            raise PickleError("it has a tensor of nothing")
        if not all(type(number) is int and 0 <= number < 2**62 for number in numbers):
            raise PickleError("it has a tensor of no shape")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if math.prod(size) and last >= elements.number:
            raise ValueError("it has a tensor that is larger than what is stored of it")
        return None

    def _build(self, value: Any, state: Any) -> None:
        if not isinstance(value, _Dictionary):
            raise PickleError("it gives a state to what has none")

    def _refer(self, reference: Any) -> "_Elements":
        kind, storage, key, _, number, *_ = reference
        if kind != "storage" or type(storage) is not Name or storage.path not in _STORAGES:
            raise PickleError("it refers to something else than a storage")
        if type(key) is not str or type(number) is not int or number < 0:
            raise PickleError("it has a storage of no size")
        size = number * _STORAGES[storage.path]
        if self.sizes is not None and self.sizes.get(self.folder + key) != size:
            raise ValueError("it has a storage of another size than it says")
        if self.seen.setdefault(key, size) != size:
            raise ValueError("it has a storage of two sizes")
        return _Elements(number)


class _Dictionary(dict):
    """Stands for an ordered dictionary, which may have a state: the versions of the modules of a network."""


class _Elements:
    """Stands for what tensors lie in: so many numbers."""

    def __init__(self, number: int) -> None:
        self.number = number


def check_ladder(sigmas: Any, path: Path) -> None:
    """Refuses noise levels of a file that are none.

    Raises:
        DataError: they are not finite, positive and descending, or too many.
    """
    if not is_plain_tensor(sigmas) or sigmas.dtype not in FLOATS or sigmas.ndim != 1 or not len(sigmas):
        raise DataError(f"{path}: no checkpoint (its noise levels are not a list of numbers)")
    if len(sigmas) > MOST_LEVELS:
        raise DataError(f"{path}: no checkpoint (it has over {MOST_LEVELS} noise levels)")
    values = sigmas.tolist()
    if not all(math.isfinite(sigma) and sigma > 0 for sigma in values):
        raise DataError(f"{path}: no checkpoint (its noise levels are not positive)")
    if sorted(set(values), reverse=True) != values:
        raise DataError(f"{path}: no checkpoint (its noise levels do not descend)")


def check_weights(network: nn.Module, state: Any, path: Path) -> None:
    """Refuses what `load_state_dict` would, in one line, and numbers of another kind, which it would convert.

    Args:
        network: may be on the device "meta", so that no memory is taken at the sizes that a file states.

    Raises:
        DataError: naming the first that is amiss.
    """
    check_same_tensors(network.state_dict(), state, type(network).__name__, path)


def check_same_tensors(expected: Mapping[str, Tensor], state: Any, what: str, path: Path) -> None:
    """Refuses a state that has not the names, shapes and kinds of numbers of another one; see `check_weights`."""
    if not isinstance(state, Mapping) or not all(map(is_plain_tensor, state.values())):
        raise DataError(f"{path}: the weights are not those of {what}: they are no plain tensors")
    amiss = [
        *(f"it lacks {name}" for name in expected if name not in state),
        *(f"{shown(name)} is no part of the network" for name in state if name not in expected),
        *(
            f"{name} has the shape {tuple(state[name].shape)}, not {tuple(value.shape)}"
            for name, value in expected.items()
            if name in state and state[name].shape != value.shape
        ),
        *(
            f"{name} is of {state[name].dtype}, not {value.dtype}"
            for name, value in expected.items()
            if name in state and _kind(state[name]) != _kind(value)
        ),
    ]
    if amiss:
        more = f", and {len(amiss) - 1} more" if len(amiss) > 1 else ""
        raise DataError(f"{path}: the weights are not those of {what}: {amiss[0]}{more}")


def _kind(tensor: Tensor) -> tuple[bool, bool]:
    return tensor.is_floating_point(), tensor.is_complex()


def check_plain(content: Any, path: Path) -> None:
    """Refuses a content of other values than plain ones and plain tensors, of too many, or of too many levels.

    Raises:
        DataError: saying which.
    """
    left, number = [(content, 0)], 0
    while left:
        value, depth = left.pop()
        number += 1
        if number > _MOST_VALUES or depth > _DEEPEST:  # a small file can name one list many times
            raise DataError(
                f"{path}: refused: it holds over {_MOST_VALUES:,} values, or over {_DEEPEST} levels of them"
            )
        if isinstance(value, dict):
            left += [(item, depth + 1) for item in value.values()]
        elif isinstance(value, list | tuple):
            left += [(item, depth + 1) for item in value]
        elif not (value is None or type(value) in (bool, int, float, str) or is_plain_tensor(value)):
            raise DataError(f"{path}: refused: it holds a {type(value).__name__}")


def is_plain_tensor(value: Any) -> bool:
    """Whether a value of a file is a dense tensor, and takes no less memory in the file than its shape says."""
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_nested
        and not value.is_quantized
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )
