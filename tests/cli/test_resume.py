"""What the record of a run may ask for when the run is resumed; the folder may come from anybody."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra

from ncsn.checkpoint.trust import TRAINING
from ncsn.commands.cli import CONF, main
from ncsn.commands.resume import resumed
from ncsn.errors import ConfigError, DataError

Command = Callable[..., Any]


@pytest.fixture(autouse=True)
def _hydra() -> None:
    GlobalHydra.instance().clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a run, of which nothing but the record is looked at."""
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "step_0000001.ckpt").write_bytes(b"")
    return tmp_path / "run"


def resume(folder: Path, recorded: Any, *given: str, options: tuple[str, ...] = ()) -> list[str]:
    (folder / "overrides.yaml").write_text(recorded if isinstance(recorded, str) else yaml.safe_dump(recorded))
    return resumed([f"resume={folder}", *given], options, CONF)


def test_a_record_sets_values_and_chooses_groups(folder: Path) -> None:
    recorded = ["data=mnist", "model.num_filters=4", "~callbacks.ema", "+trainer.detect_anomaly=true", "name=a b",
                "trainer.devices=[0,1]", "optimized_metric=val/loss", "run_root=/somewhere/else", "noise=from_data",
                "optimizer._target_=torch.optim.AdamW", "data.root=data", "trust=[os.system]"]  # fmt: skip
    found = resume(folder, recorded, "model.num_filters=8", "trainer.max_steps=9")
    expected = [*recorded[:1], "model.num_filters=8", *recorded[2:-1], f"resume={folder}", "trainer.max_steps=9"]
    assert found == [*expected, f"hydra.run.dir='{folder}'"]


REFUSED = [  # what is recorded, and why it is refused
    ("hydra.run.dir=/tmp/x", "sets what is Hydra's own"),
    ("hydra/launcher=slurm", "sets what is Hydra's own"),
    ("+hydra.callbacks.x={_target_: os.system}", "sets what is Hydra's own"),
    ("++hydra.job_logging.handlers.x={class: os.system}", "sets what is Hydra's own"),
    ("data@hydra.callbacks.x=digits", "puts a group elsewhere"),
    (
        "+callbacks.evil={_target_: numpy.savetxt, fname: ran, X: [1]}",
        "names numpy.savetxt, no class",
    ),
    ("+callbacks.evil={a: [{b: {_target_: os.mkdir}}]}", "names os.mkdir"),
    ("+trainer.plugins=[{_target_: os.mkdir, name: ran}]", "names os.mkdir"),
    ("model._target_=my.Network", "names my.Network, no class of this project .*trust=\\[my.Network\\]"),
    ("model._target_=torch.nn.Identity", "names torch.nn.Identity"),
    ("+model._args_=[1]", "sets _args_"),
    ("+model._recursive_=false", "sets _recursive_"),
    ("optimizer._partial_=os", "sets _partial_"),
    ("model.image_size=${oc.create:{_target_: os.mkdir}}", "refused|damaged"),
    ("name=${oc.env:HOME}", "is an interpolation"),
    ("name=\\${oc.env:HOME}", "is an interpolation"),
    ("name='a${b}'", "is an interpolation"),
    ("data.seed=1,2", "is a sweep"),
    ("data=../../elsewhere", "leads to another folder"),
    ("data.name=../..", "leads to another folder"),
    ("callbacks.checkpoint.filename=/etc/x", "leads to another folder"),
    ("data.root={nowhere}", "holds no decoded images"),
    ("data.cache_dir='~/x'", "holds no decoded images"),
    ("model.more='C:/x'", "leads to another folder"),
    ("model.more='a\\x'", "leads to another folder"),
    ("model.more='file://x'", "leads to another folder"),
]


@pytest.mark.parametrize(("override", "reason"), REFUSED, ids=[override for override, _ in REFUSED])
def test_a_record_does_no_more(override: str, reason: str, folder: Path) -> None:
    override = override.replace("{nowhere}", str(folder))
    modules, files = set(sys.modules), set(folder.rglob("*"))
    with pytest.raises(DataError, match=reason) as raised:
        resume(folder, ["data=digits", override])
    assert set(sys.modules) == modules
    assert set(folder.rglob("*")) - files == {folder / "overrides.yaml"}
    assert str(raised.value).startswith(f"{folder}/overrides.yaml: ")
    assert str(raised.value).isprintable()
    if "damaged" not in str(raised.value):
        assert "give it on the command line: " in str(raised.value)
        assert override in resume(folder, ["data=digits", override], override)  # the user's own word


def test_what_the_user_trusts_may_be_named(folder: Path) -> None:
    recorded = ["model._target_=my.Network", "+callbacks.x={_target_: my.Callback}", "trust=[my.Callback]"]
    with pytest.raises(DataError, match=r"my\.Callback"):
        resume(folder, recorded, "trust=[my.Network]")
    assert resume(folder, recorded, "trust=[my.Network,my.Callback]")[:2] == recorded[:2]


def test_decoded_images_may_be_anywhere(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "data" / "cache" / "digits-train-8px-0123").mkdir(parents=True)
    recorded = [f"data.root={tmp_path}/data", f"data.cache_dir={tmp_path}/data/cache"]
    assert resume(folder, recorded)[:2] == recorded


DAMAGED = [
    "a: 1",
    "- [1]",
    "[",
    "- 1",
    "!!python/object/apply:os.getcwd []",
    "[" * 9999,
    "- !!int x",
    "- !!timestamp x",
    "- a=" + "[" * 999,
    "- a b c",
    "\0",
    "- 'a'",
]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_record_is_told_in_one_line(text: str, folder: Path) -> None:
    with pytest.raises(DataError, match=r"overrides\.yaml: damaged") as raised:
        resume(folder, text)
    assert str(raised.value).isprintable()


def test_all_that_train_names_is_listed() -> None:
    groups = (
        "callbacks",
        "condition",
        "data",
        "logger",
        "model",
        "noise",
        "objective",
        "optimizer",
        "sampler",
        "scheduler",
    )
    lines = [
        line.split("#")[0].split() for group in groups for path in (CONF / group).glob("*.yaml")
        for line in path.read_text().splitlines()
    ]  # fmt: skip
    named = {words[1] for words in lines if words[:1] == ["_target_:"]} - {"null"}
    assert len(named) > 25
    assert named <= set(TRAINING)


# Configurations of the user's own, --config-dir.


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with data sets of one's own."""
    (tmp_path / "own" / "data").mkdir(parents=True)
    text = "defaults: [digits, _self_]\nname: mine\nseed: ${seed}\n"
    (tmp_path / "own" / "data" / "mine.yaml").write_text(text)
    return tmp_path / "own"


@pytest.mark.parametrize("name", ["own", "gone", "gone/" + "x" * 999, "gone\x1b[2J\n"])
def test_a_record_does_not_choose_them(name: str, folder: Path, own: Path) -> None:
    (own / "data" / "mine.yaml").write_text("defaults: ['${oc.env:HOME}']\na: [")  # which is not even read
    (folder / "run.json").write_text(json.dumps({"config_dir": f"{own.parent}/{name}"}))
    with pytest.raises(ConfigError, match="give them again: --config-dir ") as raised:
        resume(folder, ["data=mine"])
    assert str(raised.value).isprintable()
    options = ("--config-dir", str(own))
    assert resume(folder, ["data=mine"], options=options)[-2:] == list(options)  # the user's own word


@pytest.mark.parametrize("text", ["a: [", "[" * 9999])
def test_configurations_that_are_damaged_are_told_in_one_line(
    text: str, own: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (own / "data" / "mine.yaml").write_text(text)
    monkeypatch.setattr(sys, "argv", ["ncsn", "train", "data=mine", "--config-dir", str(own)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.slow
def test_a_run_with_configurations_of_ones_own_goes_on(
    call: Command, tiny: list[str], only_run: Command, own: Path, tmp_path: Path
) -> None:
    call("train", "--config-dir", str(own), "data=mine", *tiny, "trainer.max_steps=1", cwd=tmp_path)
    (tmp_path / "elsewhere").mkdir()
    folder = only_run(tmp_path)
    options = ["--config-dir", str(own)]
    call("train", *options, f"resume={folder}", "trainer.max_steps=2", cwd=tmp_path / "elsewhere")
    assert (folder / "checkpoints" / "step_0000002.ckpt").exists()
    call("train", "--config-dir=own", "data=mine", "resume=true", "trainer.max_steps=3", cwd=tmp_path)
    assert (folder / "checkpoints" / "step_0000003.ckpt").exists()


# What else lies in the folder.


@pytest.mark.parametrize("name", ["train.log", "metrics.csv", "checkpoints", ".hydra"])
def test_what_leads_out_of_the_folder_is_refused(name: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    if (folder / name).exists():
        (folder / name).rename(tmp_path / "moved")
    (folder / name).symlink_to(tmp_path / "victim")
    with pytest.raises((DataError, ConfigError), match=rf"{name}: is a link that leads out of|holds no checkpoint"):
        resume(folder, ["data=digits"])
    (folder / name).unlink()
    (folder / name).symlink_to("overrides.yaml")
    resume(folder, ["data=digits"])  # which is within


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
@pytest.mark.parametrize("name", ["train.log", "metrics.csv", "run.json"])
def test_a_pipe_is_not_waited_for(name: str, folder: Path) -> None:
    os.mkfifo(folder / name)
    with pytest.raises(DataError, match=f"{name}: is neither a file nor a folder"):
        resume(folder, ["data=digits"])


def test_no_such_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or folder"):
        resumed([f"resume={tmp_path}/none"], [], CONF)
    with pytest.raises(ConfigError, match="no such file or folder"):
        resumed([f"resume={'x' * 999}"], [], CONF)
    with pytest.raises(ConfigError, match="so this is no folder of a run"):
        resumed([f"resume={tmp_path}"], [], CONF)
    assert resumed(["resume=false", "seed=1"], ["-m"], CONF) == ["resume=false", "seed=1", "-m"]
