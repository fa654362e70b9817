"""Plain values against type hints: what a user writes, as the type that it is meant for."""

import math
from collections.abc import Iterator
from typing import Any

_WORDS = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a dictionary",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "an integer",
    "int_parsing": "an integer",
    "int_parsing_size": "an integer of 64 bits",
    "int_type": "an integer",
    "list_type": "a list",
    "missing": "a longer list",
    "none_required": "null",
    "sequence_str": "a list",
    "string_type": "a string",
    "time_delta_type": "a time as DD:HH:MM:SS",
    "tuple_type": "a list",
}
_BOUNDS = {
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "string_too_short": "at least {min_length} characters long",
    "too_long": "a list of at most {max_length} values",
    "too_short": "a list of at least {min_length}",
}


_CONTAINERS = {"Collection": "a list", "Iterable": "a list", "Mapping": "a dictionary", "Sequence": "a list"}
_LARGEST_INTEGER = 2**63 - 1
_FLOAT32 = (1.17549435e-38, 3.4028235e38)  # the smallest normal number of float32, and the largest


def convert(value: Any, hint: Any) -> Any:
    """A plain value as one that its type hint allows.

    The plain meanings of pydantic's lax mode count: `no`, `off` and 0 are False, 1000.0 is an integer, "0.5" a
    number. A value that is of one of several types already stays what it is, but where integers and floats are both
    allowed, a whole number above 1 is an integer, as counts are, and no share. True and false are never numbers. A
    type that is no plain one, a tensor or a protocol, leaves the value as it is.

    Raises:
        ValueError: it means none of them, or is a number that float32 or 64 bits do not have; "must be …" says what
            would.
    """
    from pydantic import PydanticUserError, TypeAdapter, ValidationError

    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hint, config={"arbitrary_types_allowed": True})
    except PydanticUserError:  # a type that pydantic has no notion of, say a protocol
        return value
    try:
        converted = adapter.validate_python(value)
        if isinstance(converted, float) and converted > 1 and converted.is_integer():
            converted = adapter.validate_python(int(converted))
        return _plain(value, converted)
    except ValidationError as error:
        raise ValueError(f"must be {_expected(error)}") from error
    except _MeaningError:
        try:
            adapter.validate_python(object())
        except ValidationError as error:
            raise ValueError(f"must be {_expected(error)}") from error
        raise


class _MeaningError(ValueError):
    """A truth value where a number belongs, a number where a time does, or a text where a list does."""


def _plain(value: Any, converted: Any) -> Any:
    """What pydantic made of a value, in the containers and plain types of a configuration."""
    if isinstance(value, list):
        if isinstance(converted, list | tuple) and len(converted) == len(value):
            return [_plain(*pair) for pair in zip(value, converted, strict=True)]
        return value
    is_plain = type(converted) in (bool, int, float, str)
    if isinstance(value, bool) and not isinstance(converted, bool):
        raise _MeaningError("must not be true or false")
    if isinstance(value, int | float) and not is_plain:
        raise _MeaningError("must not be a number")
    if isinstance(value, str) and isinstance(converted, Iterator):  # of its letters
        raise _MeaningError("must not be a text")
    _check_range(converted)
    return converted if is_plain else value


def _check_range(number: Any) -> None:
    """Refuses a number that is another one, or none, in what is computed with it.

    Raises:
        ValueError: it is.
    """
    if type(number) is int and abs(number) > _LARGEST_INTEGER:
        raise ValueError("must be an integer of 64 bits")
    if type(number) is float and not math.isinf(number):
        smallest, largest = _FLOAT32
        if not (number == 0 or smallest <= abs(number) <= largest):  # NaN neither
            raise ValueError("must be a number that float32 has, 0 or from 1.2e-38 to 3.4e38")


def _expected(error: Any) -> str:
    """What is allowed, in a user's words, of pydantic's errors, one for each type of a union."""
    found = error.errors()
    plain = [e for e in found if e["type"] != "is_instance_of" or e["ctx"]["class"] in _CONTAINERS] or found
    return " or ".join(dict.fromkeys(_word(e) for e in plain))  # nobody can write a tensor


def _word(error: Any) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "literal_error":
        return str(context["expected"]).replace("'", "")
    if kind == "is_instance_of" and context["class"] in _CONTAINERS:
        return _CONTAINERS[context["class"]]
    if kind in _BOUNDS:
        return _BOUNDS[kind].format(**context)
    return _WORDS.get(kind, str(error["msg"]).removeprefix("Input should be "))
