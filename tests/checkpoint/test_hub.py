"""Sharing: what is pushed to a hub comes back from it. The hub is a server on this machine."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard, ModelCardData, constants, metadata_load
from huggingface_hub.repocard_data import model_index_to_eval_results
from local_hub import Repositories, local_hub
from references import HERE, outputs, reference

import ncsn
from ncsn import TrainedScore, load_score
from ncsn.checkpoint.reading import place_of, resolve
from ncsn.checkpoint.score import save_score
from ncsn.commands.cli import main
from ncsn.errors import DataError, UserError
from ncsn.files import sha256
from ncsn.images import grid, save_png


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


def test_a_second_push_replaces_the_first_and_its_card_unless_somebody_has_edited_it(
    hub: Repositories, caplog: pytest.LogCaptureFixture
) -> None:
    main(["push", str(reference("ncsn_mnist")), "me/repo"])
    first = dict(hub["me/repo"])
    main(["push", "--sigma-max", "2", "--license", "mit", str(reference("ncsn_mnist")), "me/repo"])
    assert b"license: mit" in hub["me/repo"]["README.md"]
    assert hub["me/repo"]["model.safetensors"] != first["model.safetensors"]
    assert caplog.text.count("its card was edited") == 0
    hub["me/repo"]["README.md"] = mine = first["README.md"].replace(b"# repo", b"# Mine")
    main(["push", str(reference("ncsn_mnist")), "me/repo"])
    assert hub["me/repo"]["README.md"] == mine
    assert caplog.text.count("its card was edited, and stays") == 1


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run: a checkpoint, samples of it with scores, and later ones of another checkpoint."""
    folder = tmp_path / "run"
    checkpoint = folder / "checkpoints" / "step_0000012.ckpt"
    checkpoint.parent.mkdir(parents=True)
    save_score(load_score(reference("ncsn_mnist")), checkpoint)
    task, of_this = {"_target_": "ncsn.sampling.tasks.Generate"}, {"sha256": sha256(checkpoint), "weights": "raw"}
    for name, identity, distance in (("a", of_this, 1.5), ("b", of_this | {"sha256": "0" * 64}, 0.5)):
        samples = folder / "samples" / name
        samples.mkdir(parents=True)
        (samples / "settings.json").write_text(json.dumps(identity | {"task": task}))
        scores = {"classifier_frechet_10k": distance, "classifier_kid_10k": 0.25, "classifier_kid_10k_std": 0.125}
        scores |= {"classifier_recall_10k": None, "| [click](http://x) |": 1.0}
        record = {"scores": scores, "num_samples": 10_000, "network_evaluations": 20, "checkpoint": identity}
        record |= {"sampler": {"_target_": "ncsn.samplers.DDIM"}, "reference": {"name": "mnist", "split": "test"}}
        (samples / "evaluation.json").write_text(json.dumps(record))
        save_png(grid(torch.full((4, 1, 8, 8), distance / 2)), samples / "grid.png")
    return folder


def test_the_card_says_licence_data_scores_papers_and_how_to_use_it(
    hub: Repositories, run: Path, tmp_path: Path
) -> None:
    main(["push", "--license", "cc-by-4.0", str(run), "me/mnist"])
    files = hub["me/mnist"]
    assert files["samples.png"] == (run / "samples" / "a" / "grid.png").read_bytes()
    (tmp_path / "README.md").write_bytes(files["README.md"])
    metadata, card = metadata_load(tmp_path / "README.md"), ModelCard.load(tmp_path / "README.md")
    assert metadata is not None
    assert ModelCardData(**metadata).to_dict() == metadata  # nothing in it is unknown to the Hub's own reader
    assert (metadata["license"], metadata["datasets"]) == ("cc-by-4.0", ["ylecun/mnist"])
    assert metadata["pipeline_tag"] == "unconditional-image-generation"
    assert "arxiv:1907.05600" in metadata["tags"]
    name, results = model_index_to_eval_results(metadata["model-index"])
    assert name == "mnist"
    assert {(r.dataset_type, r.dataset_split, r.metric_type, r.metric_value) for r in results} == {
        ("ylecun/mnist", "test", "classifier_frechet", 1.5),
        ("ylecun/mnist", "test", "classifier_kid", 0.25),
    }
    how = {"num_samples": 10_000, "sampler": "DDIM", "network_evaluations": 20}
    assert [r.metric_args for r in results] == [how, how | {"standard_deviation": 0.125}]
    assert "![Samples, drawn by this network](samples.png)" in card.text
    assert "| Fréchet distance, classifier | 1.5 | 10,000 | DDIM | 20 |" in card.text
    assert "https://arxiv.org/abs/1907.05600" in card.text
    assert "click" not in card.content


@pytest.mark.parametrize(
    ("name", "sampler", "lines"),
    [
        ("ncsn_mnist", "AnnealedLangevin(steps_per_level=1, ", 5),
        ("ddpm", "DDPM(steps=2, ", 5),
        ("builtin:mnist", "DPMSolverPP(", 6),
    ],
)
def test_what_the_card_says_in_python_runs(hub: Repositories, name: str, sampler: str, lines: int) -> None:
    path = name if "builtin" in name else HERE / name if name == "ddpm" else reference(name)
    load_score(path).push_to_hub("me/repo")
    (code,) = re.findall(r"```python\n(.*?)```", hub["me/repo"]["README.md"].decode(), re.DOTALL)
    assert len(re.findall(r"^\S|^    ", code, re.MULTILINE)) == lines
    few = code.replace(sampler.partition("(")[0] + "(", sampler).replace("(16", "(2").replace("steps=20", "steps=2")
    values: dict[str, torch.Tensor] = {}
    exec(few, values)
    assert values["x"].shape == (2, *load_score(path).image_shape)
    assert values["x"].isfinite().all()


def test_pretrained_networks_go_both_ways(hub: Repositories, tmp_path: Path) -> None:
    score = load_score(reference("ncsn_mnist"))
    x, sigma = torch.rand(2, 1, 28, 28), score.sigmas[:2]
    assert score.save_pretrained(tmp_path / "mine") is None
    assert 'load_score("mine")' in (tmp_path / "mine" / "README.md").read_text()
    page = score.save_pretrained(tmp_path / "mine", repo_id="me/mine", push_to_hub=True, private=True)
    score.push_to_hub("mine", commit_message="Again", model_card_kwargs={"license": "mit"})
    assert b"license: mit" in hub["me/mine"]["README.md"]
    assert page is not None
    assert re.search(r"/me/mine/commit/\w{40}$", page)
    offline = {"cache_dir": tmp_path / "cache2", "revision": "main"}
    with pytest.raises(DataError, match="hf://me/mine"):
        TrainedScore.from_pretrained("me/mine", local_files_only=True, **offline)
    for loaded in (
        ncsn.TrainedScore.from_pretrained("me/mine", token="hf_me", **offline),
        TrainedScore.from_pretrained("me/mine", local_files_only=True, **offline),
        TrainedScore.from_pretrained("hf://me/mine/model.safetensors", weights="raw"),
        TrainedScore.from_pretrained(tmp_path / "mine", device="cpu"),
        load_score(tmp_path / "mine"),
    ):
        assert (loaded.config, loaded.step, loaded.weights) == (score.config, score.step, score.weights)
        torch.testing.assert_close(loaded(x, sigma), score(x, sigma), rtol=0, atol=0)


def test_a_network_of_the_package_is_pretrained_as_well() -> None:
    assert TrainedScore.from_pretrained("builtin:mnist").image_shape == (1, 28, 28)


def test_a_licence_that_is_none_is_refused_before_anything_is_uploaded(hub: Repositories) -> None:
    with pytest.raises(DataError, match="license=the best: must be the Hub's identifier"):
        load_score(reference("ncsn_mnist")).push_to_hub("me/repo", model_card_kwargs={"license": "the best"})
    assert hub == {"me/repo": {}}


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
