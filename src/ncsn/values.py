"""Plain values against type hints: what a user writes, as the type that it is meant for."""

from typing import Any

_WORDS = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "an integer",
    "int_parsing": "an integer",
    "int_type": "an integer",
    "list_type": "a list",
    "none_required": "null",
    "string_type": "a string",
    "tuple_type": "a list",
}
_BOUNDS = {
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
}


def convert(value: Any, hint: Any) -> Any:
    """A plain value as one that its type hint allows.

    The plain meanings of pydantic's lax mode count: `no`, `off` and 0 are False, 1000.0 is an integer, "0.5" a
    number. A value that is of one of several types already stays what it is; true and false are never numbers. A type
    that is no plain one, a tensor or a protocol, leaves the value as it is.

    Raises:
        ValueError: it means none of them; "must be …" says what would.
    """
    from pydantic import PydanticUserError, TypeAdapter, ValidationError

    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hint, config={"arbitrary_types_allowed": True})
    except PydanticUserError:  # a type that pydantic has no notion of, say a protocol
        return value
    try:
        return _plain(value, adapter.validate_python(value))
    except ValidationError as error:
        raise ValueError(f"must be {_expected(error)}") from error
    except _TruthValueError:
        try:
            adapter.validate_python(object())
        except ValidationError as error:
            raise ValueError(f"must be {_expected(error)}") from error
        raise


class _TruthValueError(ValueError):
    """A truth value where a number belongs."""


def _plain(value: Any, converted: Any) -> Any:
    """What pydantic made of a value, in the containers and plain types of a configuration."""
    if isinstance(value, list):
        if isinstance(converted, list | tuple) and len(converted) == len(value):
            return [_plain(*pair) for pair in zip(value, converted, strict=True)]
        return value
    if isinstance(value, bool) and not isinstance(converted, bool):
        raise _TruthValueError("must not be true or false")
    return converted if type(converted) in (bool, int, float, str) else value


def _expected(error: Any) -> str:
    """What is allowed, in a user's words, of pydantic's errors, one for each type of a union."""
    found = error.errors()
    plain = [e for e in found if e["type"] != "is_instance_of"] or found  # nobody can write a tensor
    return " or ".join(dict.fromkeys(_word(e) for e in plain))


def _word(error: Any) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "literal_error":
        return str(context["expected"]).replace("'", "")
    if kind in _BOUNDS:
        return _BOUNDS[kind].format(**context)
    return _WORDS.get(kind, str(error["msg"]).removeprefix("Input should be "))
