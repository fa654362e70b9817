"""From format to format and back; and files that are something else, or want to run something."""

import json
import os
import pickle
import re
import sys
import warnings
import zipfile
from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning  # noqa: F401  # or the first network that cannot be built would import it
import pytest
import torch
from references import NCSN, NCSNV2, outputs, reference
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ncsn import load_score
from ncsn.checkpoint import TrainedScore, resolve, save_score
from ncsn.checkpoint.reading import check_resumable
from ncsn.commands.cli import main
from ncsn.errors import DataError
from ncsn.files import save_tensors


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


@pytest.mark.parametrize("name", ["a.safetensors", "a.ckpt"])
def test_a_flipped_bit_is_one_error(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    convert(reference("ncsn_mnist"), path)
    good = path.read_bytes()
    weights = load_score(path).network.state_dict()["stem.weight"].numpy().tobytes()
    for part in (weights, b"image_size"):  # of the network, and of its configuration
        place = good.index(part) + 11
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(DataError, match=rf"{name}: .*(checksum is of other|cannot be read)"):
            load_score(path)


def test_either_set_of_weights(tmp_path: Path) -> None:
    source = reference("ncsnv2_cifar10")
    for weights in ("ema", "raw"):
        convert("--weights", weights, source, tmp_path / f"{weights}.ckpt")
        assert_same(load_score(tmp_path / f"{weights}.ckpt"), load_score(source, weights))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="moving average of the weights only"):
        load_score(tmp_path / "ema.ckpt", "raw")
    with pytest.raises(DataError, match="no such checkpoint"):
        load_score("x" * 999)


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


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The content of one of our checkpoints."""
    path = tmp_path_factory.mktemp("ours") / "good.ckpt"
    save_score(load_score(reference("ncsn_mnist")), path)
    return torch.load(path, weights_only=True)


@pytest.fixture
def good(ours: dict[str, Any]) -> dict[str, Any]:
    """The same, to change."""
    return deepcopy(ours)


WRITES = "{_target_: numpy.savetxt, fname: ran, X: [1]}"
NO_NETWORK, NO_SAMPLER, NO_DATA = (
    f"which is no {kind} of this project" for kind in ("network", "sampler", "data set")
)


@pytest.mark.parametrize(
    ("node", "value", "message"),
    [
        ("model", {"_target_": "os.system", "command": "touch ran"}, f"names os.system as its model, {NO_NETWORK}"),
        ("model", {"_target_": "torch.nn.Identity"}, NO_NETWORK),
        ("model", {"_target_": "unheard_of.Network"}, r"unheard_of\.Network .*trust=\[unheard_of\.Network\]"),
        ("model", {"_target_": "ncsn.networks.ncsn.NCSN"}, NO_NETWORK),
        ("model", {"_target_": "ncsn.networks.blocks.torch.load"}, NO_NETWORK),
        ("model", {"_target_": "this"}, NO_NETWORK),
        ("model", {"_target_": {"_target_": "os.getcwd"}}, NO_NETWORK),
        ("model", {"_target_": None}, NO_NETWORK),
        ("model", {"_target_": "a\x1b[2J\nb" * 99}, "refused"),
        ("model", {"_target_": "${oc.decode:numpy.savetxt}"}, r"model\._target_=.* is an interpolation"),
        ("model", {"image_size": f"${{oc.create:{WRITES}}}"}, r"model\.image_size=.* is an interpolation"),
        ("model", {"image_size": {"_target_": "os.mkdir", "path": "ran"}}, "names os.mkdir as its model"),
        ("model", {"image_size": {"_target_": "ncsn.networks.NCSN"}}, NO_NETWORK),
        ("model", {"_partial_": True}, "model in its configuration has the key _partial_"),
        ("model", {"num_filters": [{"_args_": [1]}]}, "has the key _args_"),
        ("model", {"image_size": "abc"}, r"model\.image_size=abc: must be an integer"),
        ("model", {"image_size": "???"}, r"model\.image_size: a value is needed"),
        ("model", {"num_filters": -4}, r"model\.num_filters=-4: must be"),
        ("model", {"num_filters": 10**15}, "its network cannot be built"),
        ("model", {"surprise": 1}, r"model\.surprise=1: no such key"),
        ("sampler", {"_target_": "subprocess.run", "args": ["touch", "ran"]}, f"names subprocess.run .*{NO_SAMPLER}"),
        ("sampler", {"_target_": "ncsn.networks.NCSN"}, NO_SAMPLER),
        ("sampler", {"step_size": "a${b}"}, "is an interpolation"),
        ("data", {"_target_": "os.mkdir", "path": "ran"}, f"names os.mkdir as its data, {NO_DATA}"),
        ("data", {"root": [{"_target_": "os.mkdir", "path": "ran"}]}, "names os.mkdir as its data"),
        ("data", {"name": "../.."}, r"data\.name=\.\./\.\. .*must be a name"),
        ("data", {"category": "/etc/x"}, r"data\.category=/etc/x .*must be a name"),
        ("data", {"channels": "3"}, r"data\.channels=3 .*positive integer"),
        ("data", {"image_size": True}, r"data\.image_size=True .*positive integer"),
        ("data", {"attribute": "../x"}, r"data\.attribute=\.\./x .*must be a name"),
        (
            "condition",
            {"_target_": "os.mkdir", "path": "ran"},
            "names os.mkdir as its condition, which is no condition",
        ),
        ("condition", {"num_classes": 3}, "its configuration has no complete condition"),
        (
            "condition",
            {"_target_": "ncsn.conditions.Label", "num_classes": 3},
            "its network has None classes, its condition 3",
        ),
        ("condition", {"_target_": "ncsn.conditions.Label", "num_classes": 0}, "its condition cannot be built"),
        ("callbacks", {"evil": f"${{oc.create:{WRITES}}}"}, r"callbacks\.evil=.* is an interpolation"),
    ],
)
@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_nothing_that_a_configuration_says_is_run(
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
    config[node] = config.get(node, {}) | value
    path = tmp_path / f"bad{suffix}"
    if suffix == ".ckpt":
        torch.save(good, path)
    else:
        save_file(good["state_dict"], path, {"config": json.dumps(config), "step": "0"})
    modules, files = set(sys.modules), set(tmp_path.iterdir())
    with pytest.raises(DataError, match=message) as raised:
        load_score(path)
    assert set(sys.modules) == modules
    assert set(tmp_path.iterdir()) == files
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 700


def test_a_configuration_within_itself_is_refused(good: dict[str, Any], tmp_path: Path) -> None:
    good["hyper_parameters"]["model"]["more"] = good["hyper_parameters"]
    torch.save(good, tmp_path / "bad.ckpt")
    with pytest.raises(DataError, match="more than 20 levels"):
        load_score(tmp_path / "bad.ckpt")


def test_what_is_no_plain_value_is_refused(good: dict[str, Any], tmp_path: Path) -> None:
    for value in (torch.zeros(1), 2**63, "\ud800", "x" * 100_001, {1: 2}):
        good["hyper_parameters"]["more"] = value
        torch.save(good, tmp_path / "bad.ckpt")
        with pytest.raises(DataError, match="refused: more"):
            load_score(tmp_path / "bad.ckpt")


def test_a_users_own_classes_are_admitted_by_the_user(
    good: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_networks.py").write_text("from ncsn.networks import NCSN\n\nclass Mine(NCSN): ...\n")
    good["hyper_parameters"]["model"]["_target_"] = "my_networks.Mine"
    good["hyper_parameters"]["trust"] = ["my_networks.Mine"]  # which is not the file's to say
    torch.save(good, tmp_path / "a.ckpt")
    with pytest.raises(DataError, match=r"trust=\[my_networks\.Mine\]"):
        load_score(tmp_path / "a.ckpt", trust=["my_networks", "my_networks.Other"])
    assert "my_networks" not in sys.modules
    assert type(load_score(tmp_path / "a.ckpt", trust=["my_networks.Mine"]).network).__name__ == "Mine"
    convert("--trust", "my_networks.Mine", tmp_path / "a.ckpt", tmp_path / "b.safetensors")


def test_paths_lead_to_decoded_images_alone(good: dict[str, Any], tmp_path: Path) -> None:
    data = good["hyper_parameters"]["data"]
    (tmp_path / "here" / "cache" / "mnist-train-28px-0123").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for folders, found in (
        ({"root": str(tmp_path / "here"), "cache_dir": None}, (str(tmp_path / "here"), None)),
        ({"root": "x", "cache_dir": str(tmp_path / "here" / "cache")}, ("x", str(tmp_path / "here" / "cache"))),
        ({"root": str(tmp_path / "elsewhere"), "cache_dir": str(tmp_path)}, ("data", None)),
        ({"root": "\0", "cache_dir": 3}, ("data", None)),
    ):
        data |= folders
        torch.save(good, tmp_path / "a.ckpt")
        config = load_score(tmp_path / "a.ckpt").config["data"]
        assert (config["root"], config["cache_dir"]) == found


def test_alternative_constructors_of_samplers_may_be_named(good: dict[str, Any], tmp_path: Path) -> None:
    good["hyper_parameters"]["sampler"] = {"_target_": "ncsn.samplers.AnnealedLangevin.released", "step_lr": 1e-5}
    torch.save(good, tmp_path / "a.ckpt")
    assert load_score(tmp_path / "a.ckpt").config["sampler"]["step_lr"] == 1e-5


def test_a_data_set_that_is_not_on_this_machine_is_no_hindrance(good: dict[str, Any], tmp_path: Path) -> None:
    good["hyper_parameters"]["data"]["_target_"] = "somebody.elses.Data"
    torch.save(good, tmp_path / "a.ckpt")
    assert load_score(tmp_path / "a.ckpt", trust=["somebody.elses.Data"]).image_shape == (1, 28, 28)


def convert_weights(content: dict[str, Any], dtype: torch.dtype) -> None:
    state = content["state_dict"]
    state.update({name: value.to(dtype) for name, value in state.items() if name != "sigmas"})


def many_values() -> list[Any]:
    """10¹³ values in a few bytes of a pickle."""
    values: list[Any] = ["x"] * 10
    for _ in range(12):
        values = [values] * 10
    return values


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["state_dict"].pop("network.stem.weight"), r"not those of NCSN: it lacks stem\.weight"),
        (lambda c: c["state_dict"].update({"network.stem.weight": torch.zeros(3)}), r"shape \(3,\), not"),
        (lambda c: c["state_dict"].pop("sigmas"), "lacks the noise levels"),
        (lambda c: c["state_dict"].update(sigmas=torch.ones(2, 2)), "noise levels are not a list"),
        (lambda c: c["state_dict"].update(sigmas=torch.tensor([])), "noise levels are not a list"),
        (lambda c: c["state_dict"].update(sigmas=torch.tensor([2, 1])), "noise levels are not a list"),
        (lambda c: c["state_dict"].update(sigmas=torch.tensor([1.0, 0.0])), "noise levels are not positive"),
        (lambda c: c["state_dict"].update(sigmas=torch.tensor([torch.inf, 1.0])), "noise levels are not positive"),
        (lambda c: c["state_dict"].update(sigmas=torch.tensor([1.0, torch.nan])), "noise levels are not positive"),
        (lambda c: c["state_dict"].update(sigmas=torch.tensor([0.1, 1.0])), "noise levels do not descend"),
        (lambda c: c["state_dict"].update({"network.\x1b\n": torch.ones(1)}), "NCSN:    is no part of the network"),
        (lambda c: c["state_dict"].update({"network.x": [1.0]}), r"network\.x in its state is no plain tensor"),
        (lambda c: c["state_dict"].update(sigmas=torch.ones(1).expand(10**12)), "sigmas in its state is no plain"),
        (lambda c: c["state_dict"].update(sigmas=torch.ones(3, device="meta")), "it names torch.*meta_tensor"),
        (lambda c: c["state_dict"].update(sigmas=torch.ones(3).to_sparse()), "it names torch.*sparse"),
        (lambda c: c["state_dict"].update(sigmas=torch.ones(3).to(torch.float8_e4m3fn)), "it names torch.*v3"),
        (lambda c: c.update(more=torch.float32), r"it names torch\.float32"),
        (lambda c: c.update(more=bytearray(3)), r"it names \w+\.(bytearray|encode)"),
        (lambda c: c["state_dict"].update(sigmas=torch.ones(100_001)), "over 100000 noise levels"),
        (lambda c: convert_weights(c, torch.complex64), r"it names torch\.ComplexFloatStorage"),
        (lambda c: convert_weights(c, torch.bool), "is of torch.bool, not torch.float32, and"),
        (lambda c: c["hyper_parameters"]["model"].update(num_filters=10**5), r"has the shape .*, not \(100000,"),
        (
            lambda c: c["hyper_parameters"]["model"].update(in_channels=3),
            r"in_channels=3 .* must be data\.channels=1",
        ),
        (
            lambda c: c["hyper_parameters"]["data"].update(image_size=32),
            r"model\.image_size=28 .* data\.image_size=32",
        ),
        (lambda c: c["hyper_parameters"].update(more=many_values()), "larger than any configuration"),
        (lambda c: c.update(current_model_state=[1]), "its state is no dictionary"),
        (lambda c: c.update(global_step=torch.tensor(3)), "step="),
        (lambda c: c["hyper_parameters"]["sampler"].pop("_target_"), "no complete sampler"),
        (lambda c: c.pop("global_step"), "lacks global_step"),
        (lambda c: c["hyper_parameters"].pop("sampler"), "no complete sampler"),
        (lambda c: c["hyper_parameters"]["data"].pop("channels"), "no complete data"),
        (lambda c: c.update(hyper_parameters=[1]), "its configuration is no dictionary"),
        (lambda c: c.update(weights="best"), "weights=best"),
        (lambda c: c["hyper_parameters"]["data"].update(image_size=10**5), "images of 100000×100000×1 in its"),
        (lambda c: c["hyper_parameters"]["data"].update(name="a" * 101), "must be a name"),
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


def packed(change: Callable[[str, bytes], tuple[str, bytes]], path: Path, *more: tuple[str, bytes]) -> None:
    """A checkpoint of three noise levels, each entry of its archive changed."""
    torch.save({"state_dict": {"sigmas": torch.ones(3)}}, path)
    with zipfile.ZipFile(path) as old:
        entries = [change(name, old.read(name)) for name in old.namelist()]
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(path, "w") as new:  # of names that are there
        for name, content in (*entries, *more):
            new.writestr(name, content)


LARGE = b"J\0\0\0\x10"


def in_pickle(old: bytes, new: bytes) -> Callable[[str, bytes], tuple[str, bytes]]:
    return lambda name, content: (name, content.replace(old, new) if name.endswith("data.pkl") else content)


@pytest.mark.parametrize(
    ("change", "more", "message"),
    [
        (in_pickle(b"K\3tq", LARGE + b"tq"), (), "a storage of another size than it says"),
        (in_pickle(b"K\3\x85", LARGE + b"\x85"), (), "a tensor that is larger than what is stored"),
        (in_pickle(b"K\1\x85", LARGE + b"\x85"), (), "a tensor that is larger than what is stored"),
        (in_pickle(b"FloatStorage", b"FloatTensor"), (), r"it names torch\.FloatTensor"),
        (in_pickle(b"_rebuild_tensor_v2", b"_rebuild_parameter"), (), "it calls torch._utils._rebuild_parameter"),
        (lambda *entry: entry, (("bad/data.pkl", b"\x80\2N."),), "two entries of one name"),
        (lambda *entry: entry, (("bad/DATA.pkl", b"\x80\2N."),), "two entries of one name"),
        (lambda *entry: entry, (("other/data.pkl", b"\x80\2N."),), "cannot be read"),
        (lambda name, content: (name.replace("data.pkl", "x"), content), (), "cannot be read"),
    ],
)
def test_a_file_holds_what_it_says(change: Any, more: Any, message: str, tmp_path: Path) -> None:
    packed(change, tmp_path / "bad.ckpt", *more)
    with pytest.raises(DataError, match=message):
        load_score(tmp_path / "bad.ckpt")


def test_an_archive_behind_something_else_does_not_speak_for_it(tmp_path: Path) -> None:
    WRITERS["as torch wrote files before 1.6"](tmp_path / "bad.ckpt", tmp_path / "ran")
    torch.save({}, tmp_path / "good.ckpt")
    with (tmp_path / "bad.ckpt").open("ab") as file:
        file.write((tmp_path / "good.ckpt").read_bytes())
    assert zipfile.is_zipfile(tmp_path / "bad.ckpt")
    with pytest.raises(DataError, match="refused, and nothing in it was run"):
        load_score(tmp_path / "bad.ckpt")


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "a folder", "a device"])
def test_a_run_with_a_damaged_newest_checkpoint_means_the_one_before(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good, newest = (tmp_path / "checkpoints" / f"step_{step}.ckpt" for step in (2, 4))
    save_tensors({"x": torch.arange(100)}, good)
    assert resolve(tmp_path) == good
    content = bytearray(good.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "a folder":
        newest.mkdir()
    elif damage == "a device":
        newest.symlink_to("/dev/zero")
    else:
        newest.write_bytes({"empty": b"", "cut": content[:-10], "flipped": content}[damage])
    assert resolve(tmp_path) == good
    assert f"{newest}: damaged" in caplog.text
    with pytest.raises(DataError, match=re.escape(str(newest))):
        check_resumable(newest)
    good.unlink()
    assert resolve(tmp_path) == newest  # of which reading says what is wrong
