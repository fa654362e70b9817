"""Records of what was computed of a network's images: kept in a folder of their protocol, and not computed again."""

import importlib.metadata
import json
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from lightning import Trainer

from ncsn.files import atomically, one_process_at_a_time, read_record, write_text

Computed = tuple[dict[str, Any], dict[str, np.ndarray]]


def kept_record(
    trainer: Trainer,
    folder: Path,
    kind: str,
    protocol: dict[str, Any],
    compute: Callable[[Path], Computed | None],
) -> dict[str, Any] | None:
    """The record of a protocol, computed unless it is there; None on all processes but the first.

    Args:
        trainer: whose processes all call this.
        folder: of this protocol; gets <kind>.json, the record, and <kind>.npz, the values of each image.
        kind: "likelihood", say.
        protocol: what the record depends on, plain values.
        compute: called by all processes with a folder for what is finished, which is then removed. Returns what the
            record says beside the protocol, and arrays by their names; None on processes but the first.
    """
    with one_process_at_a_time(folder / kind) if trainer.is_global_zero else nullcontext():
        record = read_record(folder / f"{kind}.json")
        known = record is not None and record.get("protocol") == protocol
        if not trainer.strategy.broadcast(known):
            start, record = time.perf_counter(), None
            found = compute(folder / "batches")
            if found is not None:
                described, arrays = found
                record = {"protocol": protocol} | described
                record["seconds"] = round(time.perf_counter() - start, 1)
                record["versions"] = {p: importlib.metadata.version(p) for p in ("ncsn", "torch", "scipy")}
                with atomically(folder / f"{kind}.npz") as partial, partial.open("wb") as file:
                    np.savez(file, **arrays)
                write_text(folder / f"{kind}.json", json.dumps(record, indent=2))
                shutil.rmtree(folder / "batches", ignore_errors=True)
    return record if trainer.is_global_zero else None
