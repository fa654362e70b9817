"""What W&B wrote while it was offline, read without it."""

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def leveldb_log(content: bytes, header: int = 7, block: int = 32768) -> Iterator[bytes]:
    """The records of W&B's file: LevelDB's log format behind seven bytes that name it."""
    position, record = header, b""
    while position + 7 <= len(content):
        if block - position % block < 7:
            position += block - position % block
        size, kind = struct.unpack_from("<HB", content, position + 4)
        record += content[position + 7 : position + 7 + size]
        position += 7 + size
        if kind in (1, 4):  # whole, or its last part
            yield record
            record = b""


def wandb_run(path: Path, seconds: float = 20) -> dict[str, Any]:
    """What an offline run of W&B holds, once the process that writes it has come to the run itself."""
    deadline = time.monotonic() + seconds
    while "id" not in (result := _read(path)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return result


def _read(path: Path) -> dict[str, Any]:
    wandb_internal_pb2 = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    result: dict[str, Any] = {"logged": set(), "config": {}, "history": [], "metrics": {}}
    for data in leveldb_log(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.HasField("run"):
            run = record.run
            result |= {"id": run.run_id, "name": run.display_name, "group": run.run_group, "job_type": run.job_type}
        for update in [*record.run.config.update, *record.config.update]:
            result["config"][update.key] = json.loads(update.value_json)
        row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        result["logged"] |= row.keys()
        result["history"].append(row)
        if record.HasField("metric"):
            result["metrics"][record.metric.name] = record.metric
    return result
