"""What the figures share: their options, and writing a picture and its numbers."""

import argparse
import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ncsn.files import atomically, write_text
from ncsn.images import Picture, save_png

ROOT = Path(__file__).parents[1]


def options(description: str) -> argparse.ArgumentParser:
    """The options that every figure takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "figures", help="folder (default: docs/figures)")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def save(name: str, out: Path, picture: Figure | Picture, numbers: dict[str, Any]) -> None:
    """Writes `<out>/<name>.png` and the numbers behind it, plain values, to `<out>/<name>.json`."""
    path = out / f"{name}.png"
    if isinstance(picture, Figure):
        with atomically(path) as partial:
            picture.savefig(partial, format="png", dpi=120, bbox_inches="tight")
    else:
        save_png(picture, path)
    write_text(out / f"{name}.json", json.dumps(numbers, indent=2, ensure_ascii=False) + "\n")
    print(f"{path}")
