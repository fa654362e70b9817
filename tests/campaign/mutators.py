"""What is done to files, by their formats: `mutator(path, random)` changes one; can a reader know that it was?"""

import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from harness import CANARY
from PIL import Image

ODD = [None, True, -1, 0, 2**63, 10**400, 1e308, float("nan"), "", "x" * 5000, "\u202e\0\n", b"\xff"]
ODD += ["../../canary", "/dev/zero", "${oc.env:HOME}", "${oc.create:{_target_: os.mkdir, path: canary}}"]
ODD += ["canary.Network", "os.mkdir", {"_target_": "os.mkdir", "path": CANARY}, {"_partial_": True}]
ODD += [[], {}, [[]], torch.zeros(2), torch.zeros(3, 0)]


def flip(path: Path, random: Random) -> bool:
    """Changes bits."""
    content = bytearray(path.read_bytes())
    for _ in range(random.choice((1, 1, 3, 20))):
        if content:
            content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)
    return True


def cut(path: Path, random: Random) -> bool:
    """Cuts it short."""
    content = path.read_bytes()
    path.write_bytes(
        content[: random.choice((0, 1, len(content) // 2, len(content) - 1, random.randrange(len(content))))]
    )
    return True


def splice(path: Path, random: Random) -> bool:
    """Puts other bytes into it."""
    content = bytearray(path.read_bytes())
    at, size = random.randrange(len(content) + 1), random.choice((1, 8, 300))
    other = random.choice((bytes(size), b"\xff" * size, random.randbytes(size), bytes(content[:size])))
    content[at : at + random.choice((0, size))] = other
    path.write_bytes(content)
    return True


def replaced(path: Path, random: Random) -> bool:
    """Makes something else of it: a folder, a link to nowhere or to itself, a pipe, another format."""
    path.unlink()
    kind = random.randrange(7)
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        path.symlink_to("nowhere")
    elif kind == 2:
        path.symlink_to(path.name)
    elif kind == 3:
        os.mkfifo(path)
    elif kind == 4:
        path.symlink_to("/dev/zero")
    else:
        path.write_bytes(random.choice((b"", b"PK\5\6" + bytes(18), b"\x80\x02.", b"[" * 100_000, b"<html>")))
    return True


def members(path: Path, random: Random) -> bool:
    """Changes entries of a zip archive: names, compression, order, doubles, what they hold, with right checksums."""
    with zipfile.ZipFile(path) as archive:
        entries = [(info.filename, archive.read(info)) for info in archive.infolist()]
    at, kind = random.randrange(len(entries)), random.randrange(7)
    name, content = entries[at]
    if kind == 0:
        del entries[at]
    elif kind == 1:
        entries.append((name, content[:-1]))
    elif kind == 2:
        entries[at] = (random.choice(("../canary", "/canary", "x", name.upper(), ".")), content)
    elif kind == 3:
        entries[at] = (name, random.randbytes(len(content)))
    elif kind == 4:
        entries[at] = (name, content[: random.randrange(len(content) + 1)])
    elif kind == 5:
        entries[at] = (name, bytes(len(content)) + bytes(10_000_000))
    compression = zipfile.ZIP_DEFLATED if kind >= 5 else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", compression) as archive:
        for each in entries:
            archive.writestr(*each)
    return False


def _odd(value: Any, random: Random) -> Any:
    """A nested value with something odd somewhere in it."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        changed, key = dict(value), random.choice(list(value))
        kind = random.randrange(10)
        if kind == 0:
            del changed[key]
        elif kind == 1:
            changed[random.choice((0, "", "_target_", None, (1,)))] = changed[key]
        else:
            changed[key] = _odd(changed[key], random)
        return changed
    if isinstance(value, list) and value and random.random() < 0.7:
        at = random.randrange(len(value))
        return [*value[:at], _odd(value[at], random), *value[at + 1 :]]
    if isinstance(value, torch.Tensor) and random.random() < 0.7:
        return random.choice(
            (value.double(), value.int(), value.flatten(), value * torch.nan, value[..., None], value[:0])
        )
    return random.choice(ODD)


def content(path: Path, random: Random) -> bool:
    """Something odd in what torch.load gives."""
    torch.save(_odd(torch.load(path, weights_only=True), random), path)
    return False


class _Runs:
    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def calls(path: Path, random: Random) -> bool:
    """A pickle that calls."""
    evil = random.choice((_Runs(os.mkdir, CANARY), _Runs(eval, f"__import__('{CANARY}')"), _Runs(bytearray, 1 << 40)))
    if path.suffix == ".ckpt" and random.random() < 0.8:
        whole = torch.load(path, weights_only=True)
        whole[random.choice(list(whole))] = evil
        torch.save(whole, path)
    else:
        path.write_bytes(pickle.dumps(random.choice((evil, {"data": evil, b"labels": [evil]}))))
    return False


def header(path: Path, random: Random) -> bool:
    """Changes the header of a .safetensors, and its length."""
    whole = path.read_bytes()
    (size,) = struct.unpack("<Q", whole[:8])
    head, rest = json.loads(whole[8 : 8 + size]), whole[8 + size :]
    kind = random.randrange(4)
    if kind == 0:
        path.write_bytes(struct.pack("<Q", random.choice((0, size - 1, 2**63, len(whole)))) + whole[8:])
        return True
    if kind == 1:
        text = b"[" * 50_000
    elif kind == 2 and "config" in head.get("__metadata__", {}):
        config = _jsonable(_odd(json.loads(head["__metadata__"]["config"]), random))
        head["__metadata__"]["config"] = random.choice((json.dumps(config), "[" * 50_000, "", "null"))
        text = json.dumps(head).encode()
    else:
        text = json.dumps(_jsonable(_odd(head, random))).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + rest)
    return True


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else repr(value)


def text(path: Path, random: Random) -> bool:
    """Odd values in JSON, YAML or CSV, lines taken out, text that is none."""
    said = path.read_text()
    lines = said.splitlines(keepends=True)
    kind = random.randrange(6)
    if kind == 0 and path.suffix == ".json":
        said = json.dumps(_jsonable(_odd(json.loads(said), random)))
    elif kind == 1:
        del lines[random.randrange(len(lines))]
        said = "".join(lines)
    elif kind == 2:
        at = random.randrange(len(lines))
        lines[at] = f"{lines[at].partition(':')[0]}: {_jsonable(random.choice(ODD))}\n"
        said = "".join(lines)
    elif kind == 3:
        evil = [
            "!!python/object/apply:os.mkdir [canary]",
            "&a [*a]",
            "- +x={_target_: os.mkdir, path: canary}",
            "\t{",
        ]
        said = random.choice((*evil, "null", "[]", "{}", "1", "a: &a [b, &b [*a]]", "[" * 20_000))
    elif kind == 4:
        said = said.replace("a", random.choice(("ü", "\0", '"', "é"))) + random.choice(("\0", "\x1b[2J", "\n,,,,\n"))
    path.write_bytes(said.encode() if kind != 5 else said.encode("utf-16"))
    return False


def array(path: Path, random: Random) -> bool:
    """An .npz of others: types, shapes and headers that are not images, bombs, encryption flags."""
    shape = random.choice(((), (0,), (3,), (40, 8), (40, 8, 8, 3), (0, 8, 8, 1), (40, 9, 9, 1), (1, 2, 3, 4, 5)))
    kind = random.choice(("u1", "f4", "f8", "i8", "c8", "?", "S3", "M8[s]", "O", "V8"))
    made = np.zeros(shape, kind)
    if kind in ("f4", "f8") and made.size:
        made.flat[0] = random.choice((np.nan, np.inf, -1, 300))
    np.savez(path, **{random.choice(("arr_0", "x", "", "../canary")): made})
    if random.random() < 0.3:
        head = (
            f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({random.choice((-1, 10**12, 10**30))}, 8, 8, 1)}}\n"
        )
        with zipfile.ZipFile(path, "w", random.choice((zipfile.ZIP_STORED, zipfile.ZIP_BZIP2))) as archive:
            archive.writestr(
                "arr_0.npy", b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head.encode() + bytes(640)
            )
    return False


def picture(path: Path, random: Random) -> bool:
    """A PNG that claims other sizes, with right checksums, of other kinds, with text that bursts."""
    kind = random.randrange(3)
    if kind == 0:
        whole = bytearray(path.read_bytes())
        whole[16:24] = struct.pack(">II", *random.choice(((0, 0), (1, 10**9), (60_000, 60_000), (2**31 - 1, 1))))
        whole[29:33] = struct.pack(">I", zlib.crc32(whole[12:29]))
        path.write_bytes(whole)
    elif kind == 1:
        mode = random.choice(("1", "L", "P", "RGBA", "CMYK", "I;16", "LA", "F"))
        size = random.choice(((1, 1), (1, 900), (12, 12)))
        Image.new(mode, size).save(path, "tiff" if mode in ("CMYK", "F") else "png")
    else:
        chunk = b"zTXt" + b"a\0\0" + zlib.compress(bytes(50_000_000))
        at = 33
        whole = path.read_bytes()
        packed = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        path.write_bytes(whole[:at] + packed + whole[at:])
    return False
