"""The networks that come with the package: `builtin:mnist`."""

from pathlib import Path

from ncsn.errors import DataError, shown

SCHEME = "builtin:"
FOLDER = Path(__file__).parents[1] / "builtin"
"""Where they lie, `<name>.safetensors`, each with its card, `<name>.md`."""


def is_address(path: str | Path) -> bool:
    """Whether a path means one of these networks."""
    return str(path).startswith(SCHEME)


def names() -> list[str]:
    """Those that there are."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def find(address: str) -> Path:
    """The file of a network.

    Raises:
        DataError: there is none of this name.
    """
    name = address.removeprefix(SCHEME)
    if name not in names():
        there = ", ".join(SCHEME + other for other in names())
        raise DataError(f"{shown(address)}: no network of this name comes with the package (there is {there})")
    return FOLDER / f"{name}.safetensors"


def outside_package(path: Path) -> Path:
    """Where what is made of a checkpoint goes: beside it, but of one of the package below runs/builtin/<name>/."""
    return Path("runs", "builtin", path.stem, path.name) if path.absolute().parent == FOLDER else path
