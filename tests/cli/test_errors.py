"""What is wrong in a command is told in one line, before anything is touched."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import asked

from ncsn.commands.sample import sample
from ncsn.errors import UserError

pytestmark = pytest.mark.slow
Command = Callable[..., Any]

WRONG = [  # arguments, what the line has to say: the key, the value, what is allowed
    ("noise.sigma_mx=1", ["noise.sigma_mx", "sigma_max"]),
    ("+noise.sigma_mx=1", ["noise.sigma_mx=1", "sigma_max"]),
    ("nois.sigma_max=1", ["nois", "noise"]),
    ("data=mnits", ["mnits", "mnist", "cifar10"]),
    ("noise.num_levels=abc", ["noise.num_levels=abc", "integer"]),
    ("noise.sigma_max=0.001", ["noise.sigma_max=0.001", "greater than", "0.01"]),
    ("noise.sigma_min=0", ["noise.sigma_min=0", "positive"]),
    ("noise.num_levels=0", ["noise.num_levels=0", "at least 1"]),
    ("sampler.step_size=-1", ["sampler.step_size=-1", "positive"]),
    ("sampler.steps_per_level=0", ["sampler.steps_per_level=0", "at least 1"]),
    ("callbacks.ema.rate=1.5", ["callbacks.ema.rate=1.5", "[0, 1)"]),
    ("callbacks.samples.num_samples=0", ["callbacks.samples.num_samples=0", "at least 1"]),
    ("data.batch_size=0", ["data.batch_size=0", "at least 1"]),
    ("data.image_size=9", ["image_size=9", "even"]),
    ("data.image_size=16", ["data.image_size=16", "must be 8"]),
    ("trainer.precision=foo", ["trainer.precision=foo", "bf16-mixed"]),
    ("trainer.accelerator=foo", ["trainer", "accelerator", "foo", "cpu"]),
    ("trainer.max_steps=many", ["trainer.max_steps=many", "integer"]),
    ("trainer.max_steps=-1", ["trainer.max_steps=-1", "nothing ends", "trainer.max_time"]),
    ("trainer.max_step=5", ["trainer.max_step", "max_steps"]),
    ("optimizer.lr=fast", ["optimizer.lr=fast", "number"]),
    ("optimizer.lr=-1", ["optimizer", "learning rate", "-1"]),
    ("model.num_filters=0", ["model.num_filters=0", "at least 2"]),
    ("resume=/no/such/run", ["resume=/no/such/run", "no such file or folder"]),
    ("data=image_folder", ["data.root", "value is needed"]),
    ("data=image_folder data.root=pictures data.image_size=31", ["image_size=31", "even"]),
    ("noise.sigma_max=[1", ["'[1'"]),
    ("data=mnist objective=exact", ["objective: ", "D=784", "256"]),
    ("data=image_folder data.root=pictures data.image_size=32 objective=exact", ["objective: ", "D=3072", "256"]),
    ("model=ncsnv2 model.checkpointing=true objective=exact", ["objective: ", "set model.checkpointing=false"]),
    ("model=ncsnv2 model.checkpointing=true objective=exact noise=from_data", ["set model.checkpointing=false"]),
    ("sampler=mala", ["sampler: ", "NCSN has none", "model=energy"]),
    ("speed=fast model=energy", ["compile=true: ", "energy", "compile=false"]),
    ("speed=fast model=energy noise=from_data", ["compile=true: ", "compile=false"]),
    ("speed=fast objective=ssm", ["compile=true: ", "objective=dsm", "compile=false"]),
    ("speed=fast objective=ssm_vr", ["compile=true: ", "objective=dsm", "compile=false"]),
    ("speed=fast objective=exact", ["compile=true: ", "objective=dsm", "compile=false"]),
    ("compile=true objective=ssm", ["compile=true: ", "objective=dsm", "compile=false"]),
    ("compile=maybe", ["compile=maybe", "true or false"]),
    ("compile=null", ["compile=None", "true or false"]),
    ("speed=quick", ["speed", "quick", "eager", "fast"]),
    ("logger=null", ["'logger/null'", "csv tensorboard wandb"]),
    ("model=3", ["'model/3'", "unet"]),
    ("callbacks.samples=0", ["callbacks.samples=0", "node"]),
    ("seed=${nokey}", ["seed: ", "'nokey' not found"]),
    ("sampler=${", ["sampler='${'", "cannot be read"]),
    ("run_root=/dev/null", ["/dev/null", "Not a directory", "give another"]),
    (f"name={'x' * 5000}", ["File name too long", "give another one"]),
    ("optimizer.eps=1e30", ["optimizer: ", "nothing is learned", "optimizer.eps"]),
    ("optimizer.lr=0", ["optimizer: ", "nothing is learned", "optimizer.lr"]),
    ("model.num_filters=1e6", ["model: ", "parameters", "GB", "model.num_filters"]),
    ("sampler.step_size=1e38", ["sampler: ", "not finite"]),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "told"), WRONG, ids=[arguments[:80] for arguments, _ in WRONG])
def test_a_wrong_configuration_is_told_in_one_line(
    arguments: str, told: list[str], call: Command, tmp_path: Path
) -> None:
    data = tmp_path / "nowhere"
    given = arguments.split()
    root = [] if "data=image_folder" in given else [f"data.root={data}"]
    outcome = call("train", *root, "trainer.devices=1", *given, cwd=tmp_path, check=False)
    assert outcome.status == 2
    *warnings, line = outcome.err.splitlines()
    assert all(warning.startswith("warning: ") for warning in warnings)
    assert line.startswith("error: ")
    assert len(line) < 1000
    assert [word for word in told if word not in line] == []
    assert not data.exists()
    assert not list(tmp_path.glob("runs/*/*/checkpoints"))


def test_as_a_process_it_ends_with_status_2_and_no_traceback(run: Command, tmp_path: Path) -> None:
    outcome = run("train", "noise.sigma_mx=1", f"data.root={tmp_path / 'data'}", cwd=tmp_path, check=False)
    assert outcome.status == 2
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: noise.sigma_mx: no such key; did you mean sigma_max?")
    assert not (tmp_path / "data").exists()


@pytest.fixture
def checkpoint(trained: Path) -> Path:
    return trained / "checkpoints" / "step_0000002.ckpt"


SAMPLE_WRONG = [
    ("", ["ckpt", "value is needed"]),
    ("ckpt=/no/such.ckpt", ["/no/such.ckpt", "no such checkpoint"]),
    ("ckpt={folder}", ["{folder}", "no checkpoint in this folder"]),
    ("ckpt={ckpt} num_samples=0", ["num_samples=0", "at least 1"]),
    ("ckpt={ckpt} num_samples=many", ["num_samples=many", "integer"]),
    ("ckpt={ckpt} seed=x", ["seed=x", "integer"]),
    ("ckpt={ckpt} format=jpg", ["format=jpg", "npz or png"]),
    ("ckpt={ckpt} weights=emma", ["weights=emma", "ema or raw"]),
    ("ckpt={ckpt} trajectory=-1", ["trajectory=-1", "at least 0"]),
    ("ckpt={ckpt} label=[3,true]", ["label=[3, True]", "without labels"]),
    ("ckpt={ckpt} guidance=nan", ["guidance=nan", "a finite number"]),
    ("ckpt={ckpt} sampler.step_size=0", ["sampler.step_size=0", "positive"]),
    ("ckpt={ckpt} sampler.step_sise=1", ["sampler.step_sise", "step_size"]),
    ("ckpt={ckpt} sampler=ddmi", ["ddmi", "ald"]),
    ("ckpt={ckpt} trainer.accelerator=cpu trainer.devices=none", ["trainer", "devices", "int > 0"]),
    ("ckpts={ckpt}", ["ckpts", "ckpt"]),
    ("ckpt={ckpt} compile=maybe", ["compile=maybe", "true or false"]),
    ("ckpt={ckpt} speed=quick", ["speed", "quick", "eager", "fast"]),
    ("ckpt={ckpt} out=/dev/null", ["/dev/null", "cannot be used"]),
    ("ckpt=/dev/zero", ["/dev/zero", "a pipe or a device"]),
    ("ckpt={ckpt} num_samples=100000000000", ["100,000,000,000 samples", "years", "GB of disk", "confirm=true"]),
]
SAMPLE_TYPED = [  # of the others, what the command is asked for is made without composing it
    "",
    "ckpt={ckpt} sampler.step_sise=1",
    "ckpt={ckpt} sampler=ddmi",
    "ckpts={ckpt}",
    "ckpt={ckpt} speed=quick",
    "ckpt={ckpt} out=/dev/null",
]


@pytest.mark.parametrize(("arguments", "told"), SAMPLE_WRONG, ids=[arguments for arguments, _ in SAMPLE_WRONG])
def test_a_wrong_request_for_samples_is_told_in_one_line(
    arguments: str,
    told: list[str],
    network: Path,
    call: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    alone = shutil.copy(network, tmp_path)
    (tmp_path / "empty").mkdir()
    names = {"ckpt": alone, "folder": tmp_path / "empty"}
    given = arguments.format(**names)
    if arguments in SAMPLE_TYPED:
        outcome = call("sample", *given.split(), cwd=tmp_path, check=False)
        assert outcome.status == 2
        (line,) = outcome.err.splitlines()
    else:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UserError) as refused:
            sample(asked(given, "sample"))
        line = str(refused.value)
    assert "\n" not in line
    assert [word for word in told if word.format(**names) not in line] == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["alone.safetensors", "empty"]


@pytest.mark.parametrize("damage", ["truncated", "text", "foreign"])
def test_a_damaged_or_foreign_checkpoint_is_told_in_one_line(
    damage: str, checkpoint: Path, call: Command, tmp_path: Path
) -> None:
    path = tmp_path / "bad.ckpt"
    if damage == "foreign":
        torch.save({"state_dict": {}}, path)
    else:
        path.write_bytes(b"hello" if damage == "text" else checkpoint.read_bytes()[:10_000])
    outcome = call("sample", f"ckpt={path}", cwd=tmp_path, check=False)
    assert outcome.status == 2
    (line,) = outcome.err.splitlines()
    assert str(path) in line


WRITES = "${oc.create:{_target_: numpy.savetxt, fname: ran, X: [1]}}"
HOSTILE = {  # what somebody has put into a checkpoint's configuration, and what the line has to say
    "an interpolation": (("model", "image_size", WRITES), ["model.image_size", "interpolation"]),
    "a function": (("model", "_target_", "os.mkdir"), ["os.mkdir", "trust=[os.mkdir]"]),
    "a network of others": (("model", "_target_", "unheard_of.Net"), ["unheard_of.Net", "trust=[unheard_of.Net]"]),
    "a path": (("data", "name", "../../ran"), ["data.name=../../ran", "no path"]),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("command", ["sample", "evaluate"])
def test_a_checkpoint_runs_nothing(command: str, name: str, checkpoint: Path, call: Command, tmp_path: Path) -> None:
    (node, key, value), told = HOSTILE[name]
    content = torch.load(checkpoint, weights_only=True)
    content["hyper_parameters"][node][key] = value
    torch.save(content, tmp_path / "bad.ckpt")
    outcome = call(command, f"ckpt={tmp_path}/bad.ckpt", "trainer.accelerator=cpu", cwd=tmp_path, check=False)
    assert outcome.status == 2
    (line,) = outcome.err.splitlines()
    assert [word for word in ["bad.ckpt: ", *told] if word not in line] == []
    assert [p.name for p in tmp_path.iterdir()] == ["bad.ckpt"]


def test_a_class_of_ones_own_is_trusted_on_the_command_line(
    checkpoint: Path, call: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_networks.py").write_text("from ncsn.networks import UNet\n\nclass Mine(UNet): ...\n")
    content = torch.load(checkpoint, weights_only=True)
    content["hyper_parameters"]["model"]["_target_"] = "own_networks.Mine"
    torch.save(content, tmp_path / "mine.ckpt")
    given = ["num_samples=1", "trainer.accelerator=cpu", "trust=[own_networks.Mine]", f"out={tmp_path}/out"]
    call("sample", f"ckpt={tmp_path}/mine.ckpt", *given, cwd=tmp_path)
    assert (tmp_path / "out" / "samples.npz").exists()


def test_the_record_of_a_run_runs_nothing(checkpoint: Path, call: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    shutil.copy(checkpoint, run / "checkpoints")
    for override in ("+callbacks.x={_target_: os.mkdir, path: ran}", "+hydra.callbacks.x={_target_: os.mkdir}"):
        (run / "overrides.yaml").write_text(f"- '{override}'\n")
        outcome = call("train", f"resume={run}", cwd=tmp_path, check=False)
        assert outcome.status == 2
        (line,) = outcome.err.splitlines()
        assert f"{run}/overrides.yaml: refused" in line
        assert f"command line: '{override}'" in line
        assert [p.name for p in tmp_path.iterdir()] == ["run"]
        assert sorted(p.name for p in run.iterdir()) == ["checkpoints", "overrides.yaml"]
