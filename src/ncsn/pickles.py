"""Pickles, read without calling or importing anything that they name.

A pickle is a program for a machine with a stack. Python's own machine calls whatever the program names; this one
knows the plain values and containers, and asks its caller for all else.
"""

import pickletools
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import IO, Any

_VALUES = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_VALUES |= {"BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_MEMO = ("BINPUT", "LONG_BINPUT", "MEMOIZE")
_MOST_INSTRUCTIONS = 2_000_000


class PickleError(ValueError):
    """A pickle holds something else than it may; the message says what."""


@dataclass(frozen=True)
class Name:
    """A function or class that a pickle names, `module.name`; nothing has been imported."""

    path: str


def read_pickle(
    file: IO[bytes],
    names: Collection[str],
    call: Callable[[str, tuple[Any, ...]], Any],
    build: Callable[[Any, Any], None],
    refer: Callable[[Any], Any] | None = None,
) -> Any:
    """The value of the pickle at the place of a file, which is then behind it.

    Args:
        names: all that it may name.
        call: call(name, arguments) gives what stands for the result of a call; raises `PickleError` if it is none.
        build: build(value, state) gives what `call` has given its state; raises `PickleError` if it has none.
        refer: refer(reference) gives what lies outside of the pickle; None if nothing may.

    Raises:
        ValueError: `PickleError` if it asks for more than it may; others if it is no pickle at all.
    """
    stack: list[Any] = []
    marks: list[int] = []  # places in the stack
    memo: dict[int, Any] = {}

    def named(path: str) -> Name:
        if path not in names:
            raise PickleError(f"it names {path}")
        return Name(path)

    def to_mark() -> list[Any]:
        at = marks.pop()
        found = stack[at:]
        del stack[at:]
        return found

    argument: Any
    for number, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if number > _MOST_INSTRUCTIONS:
            raise PickleError(f"it has over {_MOST_INSTRUCTIONS:,} instructions")
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                return stack.pop()
            case "MARK":
                marks.append(len(stack))
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "TUPLE":
                stack.append(tuple(to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3" as name:
                found = [stack.pop() for _ in range(int(name[-1]))]
                stack.append(tuple(found[::-1]))
            case "APPEND" | "APPENDS" as name:
                items = [stack.pop()] if name == "APPEND" else to_mark()
                _of(stack[-1], list).extend(items)
            case "SETITEM" | "SETITEMS" as name:
                items = [stack.pop(), stack.pop()][::-1] if name == "SETITEM" else to_mark()
                keys = (_of(key, str, int) for key in items[::2])
                _of(stack[-1], dict).update(zip(keys, items[1::2], strict=True))
            case "GLOBAL":
                stack.append(named(str(argument).replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(named(f"{_of(module, str)}.{_of(name, str)}"))
            case "REDUCE":
                arguments, function = _of(stack.pop(), tuple), _of(stack.pop(), Name)
                stack.append(call(function.path, arguments))
            case "BUILD":
                state = stack.pop()
                build(stack[-1], state)
            case "BINPERSID" if refer is not None:
                stack.append(refer(stack.pop()))
            case name if name in _VALUES:
                stack.append(argument)
            case name if name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            case name if name in _MEMO:
                memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case name:
                raise PickleError(f"it has the instruction {name}")
    raise ValueError("no end")


def _of(value: Any, *kinds: type) -> Any:
    if not isinstance(value, kinds):
        raise PickleError(f"it has a {type(value).__name__} out of place")
    return value
