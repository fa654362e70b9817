"""`condition=label`: a network learns what it is told, is told what to draw, and is scored by class."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from PIL import Image
from torch import Tensor

import ncsn
from ncsn.checkpoint import TrainedScore
from ncsn.commands.cli import CONF
from ncsn.conditions import Label
from ncsn.config import check
from ncsn.data import Digits
from ncsn.errors import ConfigError
from ncsn.evaluation import Features
from ncsn.evaluation.by_class import accuracy, check_classes, scores_by_class
from ncsn.files import digest
from ncsn.random import Draws
from ncsn.samplers import DDIM, AnnealedLangevin
from ncsn.sampling.drawing import draw
from ncsn.sampling.tasks import Generate, Inpaint, Interpolate, Task
from ncsn.sampling.tasks.labels import chosen_labels
from ncsn.score import Guided
from ncsn.training.classes import resolve_augmentation, resolve_classes

pytestmark = pytest.mark.slow
Command = Callable[..., Any]

CPU = ["trainer.accelerator=cpu", "trainer.devices=1"]
LABELS = ["model=unet", "model.num_blocks=1", "sampler=ald", "condition=label"]
PETS = Label(2, names=["cat", "dog"])


@pytest.fixture(scope="module")
def labelled(call: Command, tiny: list[str], only_run: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with labels and augmented images, with a picture and a checkpoint at every second step."""
    cwd = tmp_path_factory.mktemp("labelled")
    changed = [
        "data.augment=0.5",
        "callbacks.samples.every_n_steps=2",
        "callbacks.samples.num_samples=25",
        "trainer.max_steps=4",
    ]
    call("train", *tiny, *LABELS, *changed, cwd=cwd)
    return only_run(cwd)


def test_the_checkpoint_knows_its_classes(labelled: Path) -> None:
    score = ncsn.load_score(labelled)
    assert score.condition == ncsn.conditions.Label(10, 0.1, names=[*"0123456789"])
    assert (score.config["model"]["num_classes"], score.config["model"]["num_augmentation_labels"]) == (10, 9)
    with torch.no_grad():
        x, sigma = torch.rand(2, 1, 8, 8), score.sigmas[:2]
        of_three, of_none = score(x, sigma, label=torch.tensor([3, 10])), score(x, sigma)
    torch.testing.assert_close(of_three[1], of_none[1])
    assert not torch.equal(of_three[0], of_none[0])


def test_pictures_while_training_have_a_row_for_each_class(labelled: Path) -> None:
    width, height = Image.open(labelled / "pictures" / "step_0000002.png").size  # two of each class, five left over
    assert height / width == pytest.approx(5, rel=0.05)


def test_a_run_with_labels_goes_on_where_it_was(labelled: Path, call: Command, tmp_path: Path) -> None:
    run = shutil.copytree(labelled, tmp_path / "run", symlinks=True)
    (run / "checkpoints" / "step_0000004.ckpt").unlink()
    call("train", f"resume={run}", cwd=tmp_path)
    states = [torch.load(f / "checkpoints/step_0000004.ckpt")["state_dict"] for f in (run, labelled)]
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)
    err = call("train", f"resume={run}", "~condition", cwd=tmp_path, check=False).err
    assert "model.num_classes=None: the run to resume has 10" in err


def test_classes_take_turns_in_samples_and_fill_rows_of_the_picture(
    labelled: Path, call: Command, tmp_path: Path
) -> None:
    given = [*CPU, f"ckpt={labelled}", "label=all", "guidance=2", "batch_size=8", f"out={tmp_path / 'out'}"]
    call("sample", *given, "num_samples=21", cwd=tmp_path)
    width, height = Image.open(tmp_path / "out" / "grid.png").size
    assert height / width == pytest.approx(5, rel=0.05)  # two of each class, one left over
    task = json.loads((tmp_path / "out" / "settings.json").read_text())["task"]
    assert (task["labels"], task["guidance"]) == ([*range(10)], 2.0)
    outcome = call("sample", *given, "label=seven", cwd=tmp_path, check=False)
    assert (outcome.status, "label=seven: must be a number from 0 to 9, or all" in outcome.err) == (2, True)


def test_scores_by_class(labelled: Path, judging: Digits, call: Command, tmp_path: Path) -> None:
    given = [*CPU, "features=classifier", "scores=[frechet]"]
    drawn = ["num_samples=205", "batch_size=205", "label=all", "guidance=1.5", f"out={tmp_path / 'scored'}"]
    out = call("evaluate", f"ckpt={labelled / 'checkpoints/last.ckpt'}", *given, *drawn, cwd=tmp_path).out
    record = json.loads((tmp_path / "scored" / "evaluation.json").read_text())
    by_class = record["by_class"]
    assert by_class["classes"] == [*"0123456789"]
    assert by_class["counts"] == [21] * 5 + [20] * 5
    assert all(0 <= share <= 1 for share in by_class["accuracy"])
    assert all(distance > 0 for distance in by_class["frechet"])
    right = np.dot(by_class["counts"], by_class["accuracy"]) / 205
    assert record["scores"]["classifier_accuracy_205"] == pytest.approx(right)
    assert "classifier_accuracy_205" in out
    assert "  class  samples  accuracy   frechet\n  0           21" in out
    assert record["network_evaluations"] == 2 * 6  # 3 levels of 2 steps

    # The same images without their network; and images of one class, too few for a distance.
    call(
        "evaluate", f"samples={tmp_path / 'scored'}", "data=digits", f"data.root={judging.root}", *given, cwd=tmp_path
    )
    again = json.loads((tmp_path / "scored" / "evaluation.json").read_text())
    assert again["by_class"] == by_class
    settings = json.loads((tmp_path / "scored" / "settings.json").read_text())
    settings["task"]["classes"][3] = "cow"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "settings.json").write_text(json.dumps(settings))
    shutil.copy(tmp_path / "scored" / "samples.npz", tmp_path / "other")
    others = [f"samples={tmp_path / 'other'}", "data=digits", f"data.root={judging.root}", *given]
    err = call("evaluate", *others, cwd=tmp_path, check=False).err
    assert "data: the samples were drawn for class 3, cow, which in this data set is 3; name the data" in err
    with pytest.raises(ConfigError, match="class 7, 7, which in this data set is not there, of 2"):
        check_classes({"labels": [0, 7], "classes": ["cat", "7"]}, ("cat", "dog"))
    nothing = ["num_samples=20", "label=7", f"reference={tmp_path / 'scored'}", f"out={tmp_path / 'one'}"]
    call("evaluate", f"ckpt={labelled / 'checkpoints/last.ckpt'}", *given, *nothing, cwd=tmp_path)
    one = json.loads((tmp_path / "one" / "evaluation.json").read_text())["by_class"]
    assert (one["classes"], one["counts"], "frechet" in one) == (["7"], [20], False)  # whose labels are not known
    err = call("evaluate", f"samples={tmp_path / 'scored'}", "label=1", cwd=tmp_path, check=False).err
    assert "label=1: goes with ckpt=" in err


# Tasks


def in_float(labelled: Path) -> TrainedScore:
    """The network of the run as if it had learned something."""
    score = ncsn.load_score(labelled)
    torch.manual_seed(0)
    for p in score.network.parameters():
        torch.nn.init.normal_(p, std=0.2)
    return score


def labels(task: Task, chains: range) -> list[int]:
    score = task.score_of(chains, Draws(0))
    assert isinstance(score, Guided)
    return score.condition["label"].tolist()


def test_every_chain_is_given_its_own_class(labelled: Path) -> None:
    score, sampler = ncsn.load_score(labelled), DDIM(steps=2)
    every = Generate(score=score, sampler=sampler, label="all")
    assert every.count == 70  # 64, and as many more as make rows of one length
    assert labels(every, range(8, 12)) == [8, 9, 0, 1]
    rows = Interpolate(score=score, sampler=sampler, label="all", num_angles=3)
    assert rows.count == 10
    assert labels(rows, range(24, 33)) == [8, 8, 8, 9, 9, 9, 0, 0, 0]
    one = Inpaint(score=score, sampler=AnnealedLangevin(), label=4, guidance=3)
    assert labels(one, range(5)) == [4] * 5
    assert one.count == 4


@torch.no_grad()
def test_a_label_decides_its_own_images_and_names_their_folder(labelled: Path) -> None:
    score = in_float(labelled)

    def drawn(**options: Any) -> tuple[Tensor, dict[str, Any]]:
        task = Generate(score=score, sampler=DDIM(steps=2), num_samples=12, **options)
        return torch.cat([x for _, x in draw(task, batch_size=5, seed=0)]), task.identity

    every, of_every = drawn(label="all")
    three, of_three = drawn(label=3)
    same = (every - three).abs().flatten(1).amax(1) < 1e-5
    assert same.tolist() == [number % 10 == 3 for number in range(12)]  # from the same noise
    none, of_none = drawn()
    guided, of_guided = drawn(label=3, guidance=2)
    unguided, of_unguided = drawn(label=3, guidance=0)
    torch.testing.assert_close(unguided, none)
    assert not torch.allclose(guided, three)
    assert len({digest(of) for of in (of_every, of_three, of_none, of_guided, of_unguided)}) == 5
    assert not {"label", "labels", "guidance"} & of_none.keys()  # so that folders of before keep their names


@pytest.mark.parametrize(
    ("condition", "label", "guidance", "message"),
    [
        (PETS, 2, 1, "label=2: must be a number from 0 to 1, or one of cat, dog, or all"),
        (PETS, "cow", 1, "label=cow: must be"),
        (PETS, 1.5, 1, "label=1.5: must be a number from 0 to 1, or one of cat, dog, or all"),
        (PETS, [1, True], 1, "label=[1, True]: must be a number from 0 to 1, or one of"),
        (PETS, True, 1, "label=True: must be a number from 0 to 1, or one of"),
        (PETS, None, 2, "guidance=2: guides towards a class; give label=all"),
        (PETS, "all", 1, "label=all: goes with task=generate and task=interpolate"),
        (Label(2, 0), None, 1, "condition.dropout=0 and has no score for no class"),
        (Label(2, 0), 1, 2, "condition.dropout=0 and has no score for no class"),
        (None, 3, 1, "label=3: the network was trained without labels"),
        (None, None, 2, "guidance=2: the network was trained without labels"),
    ],
)
def test_what_cannot_be_drawn_is_refused(condition: Any, label: Any, guidance: float, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        chosen_labels(condition, label, guidance, many=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("condition=label", "condition=label: ncsn.networks.NCSN takes no labels (num_classes); train model=unet"),
        (
            "condition=label model=unet data=lsun_church",
            "condition=label: data=lsun_church has no labels; digits, mnist",
        ),
        ("condition=label model=unet data=celeba", "condition=label: data=celeba has no labels"),
        ("condition=label model=unet model.num_classes=3", "model.num_classes=3: data=digits has 10 classes"),
        ("model=unet model.num_classes=3", "model.num_classes=3: goes with condition=label"),
        ("data.augment=0.12", "data.augment=0.12: ncsn.networks.NCSN cannot be told of it (num_augmentation_labels)"),
        (
            "data.augment=0.12 model=unet model.num_augmentation_labels=3",
            "num_augmentation_labels=3: data.augment has 9",
        ),
        ("model=unet model.num_augmentation_labels=9", "num_augmentation_labels=9: goes with data.augment"),
    ],
)
def test_what_cannot_be_trained_with_labels_or_augmented_is_refused(arguments: str, message: str) -> None:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = check(compose("train", arguments.split()))
    with pytest.raises(ConfigError, match=re.escape(message)):
        resolve_augmentation(resolve_classes(config))


def test_scores_of_a_class_are_of_its_images_alone() -> None:
    labels, real_labels = torch.arange(60) % 2, torch.arange(90) % 3
    features, real = torch.randn(60, 4), torch.randn(90, 4) + 5 * real_labels[:, None]
    samples = Features(features + 5 * labels[:, None], torch.eye(3)[torch.where(torch.arange(60) < 20, 0, labels)])
    of_real = Features(real, torch.zeros(90, 3))
    found = scores_by_class(samples, labels, "abc", classified=True, reference=(of_real, real_labels))
    assert found["classes"] == ["a", "b"]
    assert found["accuracy"] == [1, pytest.approx(2 / 3)]
    assert max(found["frechet"]) < 3  # 25 and more between two classes
    assert accuracy(found, "classifier-x") == {"classifier_accuracy_60": pytest.approx(5 / 6)}
    few = scores_by_class(samples, labels, "abc", classified=False, reference=(of_real, real_labels + 1))
    assert (few["frechet"][0], "accuracy" in few) == (None, False)
