"""Files of a run's folder, read and checked."""

from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from ncsn.errors import DataError, shown
from ncsn.files import read_json

T = TypeVar("T")

WAY_OUT = "write it again, or move it away to leave it out of the report"


def read_json_as(path: Path, kind: type[T]) -> T | None:
    """What a JSON file says; None if there is none.

    Raises:
        DataError: it is damaged, or says something else.
    """
    if not path.is_file():
        return None
    try:
        return TypeAdapter(kind).validate_python(read_json(path, WAY_OUT))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise damaged(path, f"{key}: {first['msg']}" if key else first["msg"]) from error


def damaged(path: Path, reason: object) -> DataError:
    """The error that says so."""
    first_line = next(iter(str(reason).splitlines()), type(reason).__name__)
    return DataError(f"{path}: damaged ({shown(first_line)}); {WAY_OUT}")
