"""Checkpoints that are nearly good: each is read, or refused in one line; `NCSN_EXAMPLES=100000` searches longer."""

import json
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mutated import altered, mutated, quick, read_or_refused
from references import HERE, reference
from safetensors.torch import load_file

from ncsn import load_score, noise
from ncsn.checkpoint import TrainedScore, save_score
from ncsn.checkpoint.reading import check_resumable
from ncsn.networks import NCSN

RESUMABLE = HERE.parent / "compatibility" / "run" / "checkpoints" / "step_0000004.ckpt"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny network of ours, as a.ckpt and a.safetensors."""
    folder = tmp_path_factory.mktemp("mutated")
    sigmas = noise.geometric(1.0, 0.1, 3)
    model = {"_target_": "ncsn.networks.NCSN", "image_size": 8, "in_channels": 1, "num_filters": 4}
    config = {
        "name": "tiny",
        "data": {"_target_": "ncsn.data.Digits", "name": "digits", "root": "data", "image_size": 8, "channels": 1},
        "model": model,
        "sampler": {"_target_": "ncsn.samplers.AnnealedLangevin", "steps_per_level": 2, "step_size": 1e-5},
    }
    network = NCSN(sigmas, image_size=8, in_channels=1, num_filters=4)
    score = TrainedScore(network, sigmas, (1, 8, 8), config, "raw", 3)
    save_score(score, folder / "a.ckpt")
    save_score(score, folder / "a.safetensors")
    return folder


def with_pickle(source: Path, change: Any, target: Path) -> None:
    """A checkpoint with its pickle changed, and the checksums right again."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            new.writestr(entry.filename, change(content) if entry.filename.endswith("data.pkl") else content)


@quick
@given(data=st.data())
def test_pickles(data: st.DataObject, folder: Path) -> None:
    with_pickle(folder / "a.ckpt", lambda content: data.draw(mutated(content)), folder / "b.ckpt")
    read_or_refused(lambda: load_score(folder / "b.ckpt"))


@quick
@given(data=st.data())
def test_pickles_of_a_training(data: st.DataObject, folder: Path) -> None:
    with_pickle(RESUMABLE, lambda content: data.draw(mutated(content)), folder / "c.ckpt")
    read_or_refused(lambda: check_resumable(folder / "c.ckpt"))


@quick
@given(data=st.data())
def test_configurations(data: st.DataObject, folder: Path) -> None:
    content = torch.load(folder / "a.ckpt", weights_only=True)
    torch.save(content | {"hyper_parameters": data.draw(altered(content["hyper_parameters"]))}, folder / "d.ckpt")
    read_or_refused(lambda: load_score(folder / "d.ckpt"))


@quick
@given(data=st.data(), old=st.booleans())
def test_files_of_the_authors(data: st.DataObject, old: bool, folder: Path) -> None:
    if old:
        torch.save(torch.load(reference("ncsn_mnist")), folder / "e.pth", _use_new_zipfile_serialization=False)
        head = (folder / "e.pth").read_bytes()
        (folder / "e.pth").write_bytes(data.draw(mutated(head[:20000])) + head[20000:])
    else:
        with_pickle(reference("ncsn_mnist"), lambda content: data.draw(mutated(content)), folder / "e.pth")
    read_or_refused(lambda: load_score(folder / "e.pth"))


@quick
@given(data=st.data(), raw=st.booleans())
def test_headers_of_safetensors(data: st.DataObject, raw: bool, folder: Path) -> None:
    content = (folder / "a.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    if raw:
        changed = data.draw(mutated(content[: 8 + length])) + content[8 + length :]
    else:
        header = json.loads(content[8 : 8 + length])
        config = data.draw(altered(json.loads(header["__metadata__"]["config"])))
        header["__metadata__"] = {"config": json.dumps(config), "step": data.draw(st.sampled_from(["3", "-1", "x"]))}
        text = json.dumps(data.draw(altered(header)) if data.draw(st.booleans()) else header).encode()
        changed = struct.pack("<Q", len(text)) + text + content[8 + length :]
    (folder / "b.safetensors").write_bytes(changed)
    read_or_refused(lambda: load_score(folder / "b.safetensors"))


@quick
@given(data=st.data(), raw=st.booleans())
def test_folders_of_diffusers(data: st.DataObject, raw: bool, folder: Path) -> None:
    shutil.copytree(HERE / "ddpm", folder / "ddpm", dirs_exist_ok=True)
    file = folder / "ddpm" / data.draw(st.sampled_from(["unet/config.json", "scheduler/scheduler_config.json"]))
    content = file.read_bytes()
    file.write_bytes(
        data.draw(mutated(content)) if raw else json.dumps(data.draw(altered(json.loads(content)))).encode()
    )
    read_or_refused(lambda: load_score(folder / "ddpm"))


def test_what_is_changed_is_good_before(folder: Path) -> None:
    for path in (folder / "a.ckpt", folder / "a.safetensors", reference("ncsn_mnist"), HERE / "ddpm"):
        assert load_score(path).network is not None
    assert check_resumable(RESUMABLE)["model"]
    assert load_file(folder / "a.safetensors")
