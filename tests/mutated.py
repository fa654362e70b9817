"""Files of others, as an attacker or a bad disk would have them: good ones, changed."""

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from ncsn.errors import DataError

EXAMPLES = int(os.environ.get("NCSN_EXAMPLES", "0"))  # for a long search, with other seeds each time
quick = settings(
    max_examples=EXAMPLES or 40,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

_NUMBERS = [0, 1, 2, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1]
_TEXTS = [
    "",
    "abc",
    "${oc.env:HOME}",
    "???",
    "../..",
    "/etc",
    "\0",
    "\ud800",
    "a\n\x1b[2J",
    "x" * 5000,
    "os.system",
    "nan",
]
VALUES = st.one_of(
    st.sampled_from([None, True, False, -1, 0.0, 1e308, float("nan"), float("-inf"), 10**30, -(2**63), *_NUMBERS]),
    st.sampled_from(_TEXTS),
    st.sampled_from([[], [1], [[1]], {}, {"_target_": "os.system"}, {"_partial_": True}, ["a", None], {"a": 1}]),
)


@st.composite
def mutated(draw: st.DrawFn, content: bytes) -> bytes:
    """A content with up to four changes: a byte, a number, a piece doubled, left out, or moved; or it ends early."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        size = draw(st.sampled_from([1, 2, 4, 8, 16, 100]))
        match draw(st.sampled_from(["byte", "number", "double", "cut", "move", "end", "text"])):
            case "byte":
                content = content[:at] + bytes([draw(st.integers(0, 255))]) + content[at + 1 :]
            case "number":
                order = draw(st.sampled_from(["little", "big"]))
                number = draw(st.sampled_from(_NUMBERS)) % 256 ** min(size, 8)
                content = content[:at] + number.to_bytes(min(size, 8), order) + content[at + min(size, 8) :]
            case "double":
                content = content[:at] + content[at : at + size] + content[at:]
            case "cut":
                content = content[:at] + content[at + size :]
            case "move":
                other = draw(st.integers(0, max(len(content) - 1, 0)))
                content = content[:at] + content[other : other + size] + content[at:]
            case "text":
                content = content[:at] + str(draw(st.sampled_from(_NUMBERS))).encode() + content[at:]
            case "end":
                content = content[:at]
    return content


@st.composite
def altered(draw: st.DrawFn, value: Any) -> Any:
    """A plain value in which up to three others, anywhere, have gone or become something else."""
    for _ in range(draw(st.integers(1, 3))):
        value = _altered(draw, value)
    return value


def _altered(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, dict) and value and draw(st.integers(0, 9)):
        key = draw(st.sampled_from(sorted(value, key=str)))
        if not draw(st.integers(0, 9)):
            return {name: item for name, item in value.items() if name != key}
        if not draw(st.integers(0, 9)):
            return value | {draw(st.sampled_from(["_target_", "_args_", "a.b", "", "x\n", *value])): draw(VALUES)}
        return value | {key: _altered(draw, value[key])}
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], _altered(draw, value[at]), *value[at + 1 :]]
    return draw(VALUES)


def read_or_refused(read: Callable[[], Any]) -> None:
    """A file is read, or refused in one line; anything else is a defect."""
    said = ""
    try:
        read()
    except DataError as error:
        said = str(error)
    assert said.isprintable() or not said
    assert len(said) < 1000
