"""Sharing: what is pushed to a hub comes back from it. The hub is a server on this machine."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from local_hub import Repositories, local_hub
from references import HERE, outputs, reference

from ncsn import load_score
from ncsn.checkpoint.reading import place_of, resolve
from ncsn.commands.cli import main
from ncsn.errors import DataError, UserError


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Repositories]:
    with local_hub() as (address, repositories):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_TOKEN", "hf_nobody")
        yield repositories


def test_what_is_pushed_can_be_loaded(hub: Repositories, capsys: pytest.CaptureFixture[str]) -> None:
    main(["push", str(reference("ncsnv2_cifar10")), "me/cifar10"])
    assert capsys.readouterr().out == "hf://me/cifar10\n"
    assert sorted(hub["me/cifar10"]) == ["README.md", "model.safetensors"]
    assert b"hf://me/cifar10" in hub["me/cifar10"]["README.md"]
    expected = load_score(reference("ncsnv2_cifar10"))
    x, level, _ = outputs("ncsnv2_cifar10")
    sigma = expected.sigmas[level]
    for address in ("hf://me/cifar10", "hf://me/cifar10/model.safetensors"):
        score = load_score(address)
        torch.testing.assert_close(score(x, sigma), expected(x, sigma), rtol=0, atol=0)
        assert (score.weights, score.step, score.config) == ("ema", 12345, expected.config)


def test_a_second_push_replaces_the_first_and_leaves_the_card(hub: Repositories) -> None:
    main(["push", str(reference("ncsn_mnist")), "me/repo"])
    hub["me/repo"]["README.md"] = b"mine"
    first = hub["me/repo"]["model.safetensors"]
    main(["push", "--sigma-max", "2", str(reference("ncsn_mnist")), "me/repo"])
    assert hub["me/repo"]["README.md"] == b"mine"
    assert hub["me/repo"]["model.safetensors"] != first


def test_any_file_of_a_repository(hub: Repositories) -> None:
    content = reference("ncsn_mnist").read_bytes()
    hub["me/one"] = {"README.md": b"", "checkpoint_200000.pth": content}
    hub["me/two"] = {"a.ckpt": b"", "models/b.pth": content}
    for address in ("hf://me/one", "hf://me/two/models/b.pth"):
        assert load_score(address).image_shape == (1, 28, 28)
    with pytest.raises(DataError, match=r"hf://me/two/<file> \(it has a\.ckpt, models/b\.pth\)"):
        resolve("hf://me/two")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("hf://me/nothing", "hf://me/nothing: no such repository"),
        ("hf://me/one/other.ckpt", "hf://me/one/other.ckpt: no such file"),
        ("hf://me/one", r"it has no file that ends in \.safetensors"),
        ("hf://me", "must be hf://user/repo"),
    ],
)
def test_what_is_not_there_is_one_error(hub: Repositories, address: str, message: str) -> None:
    hub["me/one"] = {"README.md": b""}
    with pytest.raises(DataError, match=message):
        load_score(address)


def test_a_hub_that_cannot_be_reached_is_one_error(hub: Repositories, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # or its client would try for half a minute
    with pytest.raises(DataError, match="hf://me/repo: not to be had from the Hugging Face Hub") as raised:
        load_score("hf://me/repo")
    assert "\n" not in str(raised.value)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r'pip install "\.\[hub\]"'):
        load_score("hf://me/repo")


def test_samples_do_not_go_to_the_cache(hub: Repositories, call: Callable[..., Any], tmp_path: Path) -> None:
    hub["me/repo"] = {"checkpoints/a.pth": reference("ncsn_mnist").read_bytes()}
    few = ["num_samples=2", "sampler=ddim", "sampler.steps=2"]
    call("sample", "ckpt=hf://me/repo", *few, "trainer.accelerator=cpu", cwd=tmp_path)
    (folder,) = (tmp_path / "runs" / "hub" / "me" / "repo" / "samples").iterdir()
    assert (folder / "grid.png").is_file()
    assert place_of(tmp_path / "a.ckpt") == tmp_path / "a.ckpt"


@pytest.mark.parametrize("kind", ["folders", "flat"])
def test_what_diffusers_wrote_comes_with_its_configurations(hub: Repositories, kind: str) -> None:
    files = {f.relative_to(HERE / "ddpm").as_posix(): f.read_bytes() for f in (HERE / "ddpm").rglob("*.*")}
    if kind == "flat":
        files = {name.rpartition("/")[2]: content for name, content in files.items()}
    hub["me/ddpm"] = files | {"README.md": b""}
    place = "unet/" if kind == "folders" else ""
    expected = load_score(HERE / "ddpm")
    x, sigma = torch.rand(1, 3, 16, 16), expected.sigmas[:1]
    for address in ("hf://me/ddpm", f"hf://me/ddpm/{place}diffusion_pytorch_model.safetensors"):
        torch.testing.assert_close(load_score(address)(x, sigma), expected(x, sigma), rtol=0, atol=0)
    with pytest.raises(DataError, match="no such file"):
        load_score("hf://me/ddpm/vae/diffusion_pytorch_model.bin")
