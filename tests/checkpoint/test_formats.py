"""From format to format and back; and files that are something else, or want to run something."""

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from references import NCSN, NCSNV2, outputs, reference
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ncsn import load_score
from ncsn.checkpoint import TrainedScore, save_score
from ncsn.commands.cli import main
from ncsn.errors import DataError


def convert(*arguments: Path | str) -> None:
    main(["convert", *map(str, arguments)])


def refused(capsys: pytest.CaptureFixture[str], *arguments: Path | str) -> str:
    """What a conversion that is refused says."""
    with pytest.raises(SystemExit) as end:
        convert(*arguments)
    assert end.value.code == 2
    return capsys.readouterr().err


@torch.no_grad()
def assert_same(found: TrainedScore, expected: TrainedScore) -> None:
    x = torch.rand(2, *expected.image_shape)[..., :32, :32]  # all of them take smaller images as well
    sigma = expected.sigmas[[0, -1]]
    torch.testing.assert_close(found(x, sigma), expected(x, sigma), rtol=0, atol=0)
    torch.testing.assert_close(found.sigmas, expected.sigmas, rtol=0, atol=0)
    assert found.config == expected.config
    assert (found.step, found.weights, found.image_shape) == (expected.step, expected.weights, expected.image_shape)


@pytest.mark.parametrize("name", [*NCSN, *NCSNV2])
def test_the_authors_become_ours_and_ours_each_other(name: str, tmp_path: Path) -> None:
    expected = load_score(reference(name))
    files = [reference(name), *(tmp_path / file for file in ("a.ckpt", "b.safetensors", "c.ckpt", "d.safetensors"))]
    for source, target in pairwise(files):
        convert(source, target)
        assert_same(load_score(target), expected)
    x, level, out = outputs(name)
    converted = load_score(files[-1])
    sigma = converted.sigmas[level]
    scale = sigma[:, None, None, None] if name in NCSNV2 else 1.0
    torch.testing.assert_close(scale * converted(x, sigma), scale * out, rtol=0, atol=1e-5)


def test_the_header_has_the_configuration(tmp_path: Path) -> None:
    convert(reference("ncsnv2_cifar10"), tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        header = file.metadata()
        assert "network.stem.weight" in file.keys()  # noqa: SIM118
    assert json.loads(header["config"])["sampler"]["steps_per_level"] == 5
    assert (header["step"], header["weights"]) == ("12345", "ema")


def test_either_set_of_weights(tmp_path: Path) -> None:
    source = reference("ncsnv2_cifar10")
    for weights in ("ema", "raw"):
        convert("--weights", weights, source, tmp_path / f"{weights}.ckpt")
        assert_same(load_score(tmp_path / f"{weights}.ckpt"), load_score(source, weights))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="moving average of the weights only"):
        load_score(tmp_path / "ema.ckpt", "raw")


def test_assumptions_are_kept(tmp_path: Path) -> None:
    convert("--sigma-max", "2", "--image-size", "20", reference("ncsn_mnist"), tmp_path / "a.ckpt")
    score = load_score(tmp_path / "a.ckpt")
    assert (float(score.sigmas[0]), score.image_shape) == (2.0, (1, 20, 20))
    with pytest.raises(DataError, match="sigma_max, image_size cannot be given"):
        load_score(tmp_path / "a.ckpt", sigma_max=2.0, image_size=20)


def test_what_cannot_be_converted_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "must end in .ckpt or .safetensors" in refused(capsys, reference("ncsn_mnist"), tmp_path / "a.pth")
    assert "no such checkpoint" in refused(capsys, tmp_path / "none.pth", tmp_path / "a.ckpt")
    assert list(tmp_path.iterdir()) == []


class Malicious:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def put(value: Any, path: Path) -> None:
    torch.save(value, path)


WRITERS: dict[str, Callable[[Path, Path], None]] = {
    "the state itself": lambda path, ran: put(Malicious(ran), path),
    "beside a good state": lambda path, ran: put([torch.load(reference("ncsn_mnist"))[0], Malicious(ran)], path),
    "as torch wrote files before 1.6": lambda path, ran: torch.save(
        [Malicious(ran)], path, _use_new_zipfile_serialization=False
    ),
    "a pickle alone": lambda path, ran: path.write_bytes(pickle.dumps(Malicious(ran))),  # type: ignore[func-returns-value]
    "an old pickle alone": lambda path, ran: path.write_bytes(pickle.dumps(Malicious(ran), 2)),  # type: ignore[func-returns-value]
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("name", ["bad.pth", "bad.ckpt", "bad.safetensors"])
def test_code_in_a_file_is_not_run(write: Callable[[Path, Path], None], name: str, tmp_path: Path) -> None:
    write(tmp_path / name, tmp_path / "ran")
    with pytest.raises(DataError, match=rf"{name}: (refused, and nothing in it was run|cannot be read)"):
        load_score(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_the_payload_would_have_run(tmp_path: Path) -> None:
    WRITERS["a pickle alone"](tmp_path / "bad", tmp_path / "ran")
    pickle.loads((tmp_path / "bad").read_bytes())
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["bad.pth", "bad.ckpt", "bad.safetensors"])
@pytest.mark.parametrize("content", ["empty", "text", "truncated", "zip", "numbers", "tensor", "list", "none"])
def test_a_file_of_something_else_is_one_error(content: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content == "truncated":
        convert(reference("ncsn_mnist"), tmp_path / "good.safetensors")
        good = tmp_path / "good.safetensors" if path.suffix == ".safetensors" else reference("ncsn_mnist")
        path.write_bytes(good.read_bytes()[:-5000])
    elif content == "zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("archive/data.txt", "something else")
    elif content in ("empty", "text"):
        path.write_bytes(b"" if content == "empty" else b"\x80not a checkpoint" * 50)
    else:
        put({"numbers": {"a": 1}, "tensor": torch.zeros(2), "list": [[], 1], "none": None}[content], path)
    with pytest.raises(DataError, match=name) as raised:
        load_score(path)
    assert "\n" not in str(raised.value)


@pytest.fixture
def good(tmp_path: Path) -> dict[str, Any]:
    """The content of one of our checkpoints."""
    save_score(load_score(reference("ncsn_mnist")), tmp_path / "good.ckpt")
    return torch.load(tmp_path / "good.ckpt", weights_only=True)


@pytest.mark.parametrize(
    ("node", "value", "message"),
    [
        ("model", {"_target_": "os.system", "command": "touch ran"}, "names os.system as its model"),
        ("model", {"image_size": {"_target_": "os.mkdir", "path": "ran"}}, "names os.mkdir as its model"),
        ("model", {"_target_": "ncsn.files.write_text", "path": "ran", "text": ""}, "as its model, which is none"),
        ("model", {"_target_": "ncsn.networks.blocks.torch.load"}, "as its model, which is none"),
        ("sampler", {"_target_": "subprocess.run", "args": ["touch", "ran"]}, "names subprocess.run as its sampler"),
        ("data", {"_target_": "os.mkdir", "path": "ran"}, "names os.mkdir as its data"),
        ("data", {"root": [{"_target_": "os.mkdir", "path": "ran"}]}, "names os.mkdir as its data"),
    ],
)
@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_a_configuration_cannot_call_functions(
    good: dict[str, Any],
    node: str,
    value: dict[str, Any],
    message: str,
    suffix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    config = good["hyper_parameters"]
    config[node] |= value
    path = tmp_path / f"bad{suffix}"
    if suffix == ".ckpt":
        torch.save(good, path)
    else:
        save_file(good["state_dict"], path, {"config": json.dumps(config), "step": "0"})
    with pytest.raises(DataError, match=message):
        load_score(path)
    assert not (tmp_path / "ran").exists()


def test_alternative_constructors_of_samplers_may_be_named(good: dict[str, Any], tmp_path: Path) -> None:
    good["hyper_parameters"]["sampler"] = {"_target_": "ncsn.samplers.AnnealedLangevin.released", "step_lr": 1e-5}
    torch.save(good, tmp_path / "a.ckpt")
    assert load_score(tmp_path / "a.ckpt").config["sampler"]["step_lr"] == 1e-5


def test_a_data_set_that_is_not_on_this_machine_is_no_hindrance(good: dict[str, Any], tmp_path: Path) -> None:
    good["hyper_parameters"]["data"]["_target_"] = "somebody.elses.Data"
    torch.save(good, tmp_path / "a.ckpt")
    assert load_score(tmp_path / "a.ckpt").image_shape == (1, 28, 28)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["state_dict"].pop("network.stem.weight"), r"not those of NCSN: it lacks stem\.weight"),
        (lambda c: c["state_dict"].update({"network.stem.weight": torch.zeros(3)}), r"shape \(3,\), not"),
        (lambda c: c["state_dict"].pop("sigmas"), "lacks the noise levels"),
        (lambda c: c.pop("global_step"), "lacks global_step"),
        (lambda c: c["hyper_parameters"].pop("sampler"), "no complete sampler"),
        (lambda c: c["hyper_parameters"]["data"].pop("channels"), "no complete data"),
        (lambda c: c.update(hyper_parameters=[1]), "no complete model"),
        (lambda c: c.update(weights="best"), "weights=best"),
    ],
)
def test_a_damaged_checkpoint_of_ours_is_one_error(
    change: Callable[[dict[str, Any]], Any], message: str, good: dict[str, Any], tmp_path: Path
) -> None:
    change(good)
    torch.save(good, tmp_path / "bad.ckpt")
    with pytest.raises(DataError, match=rf"bad\.ckpt.*{message}"):
        load_score(tmp_path / "bad.ckpt")


def test_safetensors_of_others_are_told_apart(tmp_path: Path) -> None:
    convert(reference("ncsn_mnist"), tmp_path / "good.safetensors")
    state = load_file(tmp_path / "good.safetensors")
    for header, message in (
        (None, "no configuration"),
        ({"config": "{", "step": "0"}, "configuration in its header cannot be read"),
        ({"config": "{}"}, "configuration in its header cannot be read"),
        ({"config": "{}", "step": "0"}, "no complete model"),
    ):
        save_file(state, tmp_path / "bad.safetensors", header)
        with pytest.raises(DataError, match=message):
            load_score(tmp_path / "bad.safetensors")
