"""What is typed reaches Hydra as it was meant: paths whole, options apart from overrides, sweeps with a name."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from ncsn.commands.arguments import search_path, split, with_texts
from ncsn.commands.cli import CONF, rewrite


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("data.root=~/pictures", "{home}/pictures"),
        ("data.root=~/my pictures", "{home}/my pictures"),
        ("data.root=~/one, two", "{home}/one, two"),
        ("+data.root=~", "{home}"),
        ("ckpt=/runs/lr=1e-3/step 1.ckpt", "/runs/lr=1e-3/step 1.ckpt"),
        ("ckpt=/runs/(1)/it's.ckpt", "/runs/(1)/it's.ckpt"),
        ("ckpt=/runs/Übung&Co.ckpt", "/runs/Übung&Co.ckpt"),
        ("ckpt=\"~/runs\"", "~/runs"),
        ("optimizer.lr=1e-3", 1e-3),
        ("data=mnist", "mnist"),
    ],
)  # fmt: skip
def test_a_path_is_read_as_it_was_typed(typed: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/it's me")
    (override,) = with_texts([typed], multirun=False)
    expected = value.format(home="/home/it's me") if isinstance(value, str) else value
    assert OverridesParser.create().parse_override(override).value() == expected
    assert with_texts([override], multirun=False) == [override]  # as a process for another device gets it


def test_commas_separate_the_values_of_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    (override,) = with_texts(["data.root=~/a,/b=c,d"], multirun=True)
    sweep = OverridesParser.create().parse_override(override)
    assert list(sweep.sweep_string_iterator()) == ["'/home/me/a'", "'/b=c'", "d"]


@pytest.mark.parametrize(
    ("typed", "multirun", "read"),
    [
        ("model=3", False, "model='3'"),
        ("logger=null", False, "logger='null'"),
        ("+experiment=7", False, "+experiment='7'"),
        ("model=unet", False, "model=unet"),
        ("model=3,unet", True, "model='3',unet"),
        ("logger=[csv]", False, "logger=[csv]"),
        ("model.num_filters=3", False, "model.num_filters=3"),
        ("sampler={steps:3}", False, "sampler={steps:3}"),
    ],
)
def test_a_choice_of_a_group_is_the_name_of_a_file(typed: str, multirun: bool, read: str) -> None:
    assert with_texts([typed], multirun, [CONF]) == [read]


@pytest.mark.parametrize("wrong", ["noise.sigma_max=[1", "x=choice(1", "a b=1", "x='y", "~callbacks.ema"])
def test_what_is_no_path_is_left_to_hydra(wrong: str) -> None:
    assert with_texts([wrong], multirun=False) == [wrong]


def test_options_go_behind_the_overrides_with_their_values() -> None:
    typed = ["a=1", "-m", "--config-dir", "my=confs", "b=2", "-c", "job", "--info", "c=3"]
    assert split(typed) == (["a=1", "b=2", "c=3"], ["-m", "--config-dir", "my=confs", "-c", "job", "--info"])


@pytest.mark.parametrize("options", [["--config-dir", "my confs"], ["-cd", "my confs"], ["--config-dir=my confs"]])
def test_a_folder_of_configurations_is_known_to_compose(options: list[str]) -> None:
    assert search_path(["a=1", *options]) == [f"hydra.searchpath=['file://{Path.cwd()}/my confs']"]


@pytest.mark.parametrize(
    "typed", [["-m", "optimizer.lr=1,2"], ["optimizer.lr=1,2", "-m"], ["hydra.mode=MULTIRUN", "optimizer.lr=1,2"]]
)
def test_a_sweep_gets_a_name_wherever_it_is_asked_for(typed: list[str]) -> None:
    rewritten = rewrite(typed, "train")
    assert "sweep=optimizer.lr-1-2" in rewritten
    assert sorted(rewritten) == sorted([*typed, "sweep=optimizer.lr-1-2"])
    assert all(not a.startswith("-") for a in rewritten[: rewritten.index("sweep=optimizer.lr-1-2")])
    assert "sweep=mine" in rewrite([*typed, "sweep=mine"], "train")
    assert "sweep=optimizer.lr-1-2" not in rewrite([*typed, "sweep=mine"], "train")


def test_other_processes_of_a_run_leave_no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert {"hydra.run.dir=.", "hydra.output_subdir=null"} < set(rewrite(["data=mnist"], "train"))
    assert "hydra.run.dir=." not in rewrite(["hydra.run.dir=here"], "train")
