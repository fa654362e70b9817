"""Numbers and settings as a reader wants them."""

from typing import Any

DIGITS = 4


def in_digits(value: float, digits: int = DIGITS) -> str:
    """A number to its first digits; a whole one in full, with thousands separated: 0.08461, 15,000."""
    if float(value).is_integer() and abs(value) < 1e15:
        text = f"{int(value):,}"
    elif abs(value) >= 10**digits:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.{digits}g}"
    return text.replace("-", "−", 1) if text.startswith("-") else text


def in_words(value: Any) -> str:
    """A setting on one line: as it was given, with yes and no, and long checksums cut short."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{str(k).replace('_', ' ')} {in_words(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return f"({', '.join(map(in_words, value))})"
    text = str(value)
    return shortened(text) if len(text) in (40, 64) and set(text) <= set("0123456789abcdef") else text


def in_percent(share: Any) -> str:
    return f"{100 * share:.1f}%" if isinstance(share, int | float) else in_words(share)


def shortened(checksum: str) -> str:
    """The beginning of a checksum or revision, and what follows a +."""
    digest, plus, rest = checksum.partition("+")
    return digest[:10] + plus + rest


def node_name(node: dict[str, Any]) -> str:
    """What a configuration node builds: the class or function."""
    return str(node.get("_target_", "")).rpartition(".")[2]


def node_in_words(node: dict[str, Any], hidden: tuple[str, ...] = ()) -> str:
    """What a configuration node builds, and its settings; empty for an empty node."""
    settings = {k: v for k, v in node.items() if not str(k).startswith("_") and k not in hidden and v is not None}
    return ": ".join(filter(None, [node_name(node), in_words(settings)]))
