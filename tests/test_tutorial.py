"""The tutorial's Python runs, block after block, with fewer steps, and what it says of the numbers is so.

`SHORT` names the assignments that are cut; each has to be found in the text exactly once. What a longer training
would do to the numbers that stand in the tutorial is not tested here.
"""

import ast
import importlib
import math
import re
import types
from pathlib import Path
from typing import Any

import pytest
import torch

import ncsn

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial.md"
SHORT = {"toy_steps": 400, "digit_steps": 15, "level_steps": 2}
PICTURES = ("tutorial_modes.png", "tutorial_digits.png", "tutorial_halves.png")


def blocks() -> list[str]:
    """The Python of the tutorial, one string a block."""
    return re.findall(r"^```python\n(.*?)^```$", TUTORIAL.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def shortened(source: str) -> str:
    """The source with the numbers of `SHORT` in place of its own."""
    for name, steps in SHORT.items():
        source, count = re.subn(rf"^{name} = \d+$", f"{name} = {steps}", source, flags=re.MULTILINE)
        assert count == 1, f"{count} lines of the tutorial read “{name} = <number>”"
    return source


def attributes(node: ast.AST) -> list[str]:
    """The names in a chain a.b.c, outermost first; empty if the chain does not start at a name."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute) and (chain := attributes(node.value)):
        return [*chain, node.attr]
    return []


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names that the tutorial has defined when all of it has run, and `folder`, the folder it ran in."""
    folder = tmp_path_factory.mktemp("tutorial")
    source, names = shortened("\n".join(blocks())), {"__name__": "tutorial", "folder": folder}
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        patch.chdir(folder)
        exec(compile(source, str(TUTORIAL), "exec"), names)
    return names


def test_its_names_are_public() -> None:
    tree = ast.parse("\n".join(blocks()))
    chains = [chain for node in ast.walk(tree) if (chain := attributes(node))]
    assert [chain for chain in chains if any(re.match("_(?!_?$)", name) for name in chain)] == []
    ours = [chain[1:] for chain in chains if chain[0] == "ncsn" and len(chain) > 1]
    assert ours
    for chain in ours:
        owner: Any = ncsn
        for name in chain:
            if not isinstance(owner, types.ModuleType):
                break
            public = getattr(owner, "__all__", None)
            assert name in (vars(owner) if public is None else public), f"{owner.__name__}.{name}"
            owner = getattr(owner, name)


def test_its_imports_are_of_public_names() -> None:
    for node in ast.walk(ast.parse("\n".join(blocks()))):
        if isinstance(node, ast.Import):
            assert not any(name.startswith("_") for alias in node.names for name in alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module or "")
            names = {alias.name for alias in node.names}
            assert not any(name.startswith("_") for name in [*(node.module or "").split("."), *names])
            if module.__name__.split(".")[0] == "ncsn":
                assert names <= set(getattr(module, "__all__", names))


def test_it_needs_neither_lightning_nor_hydra() -> None:
    assert not re.search(r"^\s*(?:import|from) (?:lightning|hydra)", "\n".join(blocks()), re.MULTILINE)


def test_its_pictures_are_those_it_makes() -> None:
    shown = re.findall(r"!\[[^]]+\]\(images/([^)]+)\)", TUTORIAL.read_text("utf-8"))
    assert sorted(shown) == sorted(PICTURES)
    for name in shown:
        assert 0 < (TUTORIAL.parent / "images" / name).stat().st_size < 60_000


def test_closed_form_is_the_gradient(tutorial: dict[str, Any]) -> None:
    assert tutorial["difference"] < 1e-5


def test_langevin_reaches_the_moments(tutorial: dict[str, Any]) -> None:
    samples = tutorial["samples"]
    torch.testing.assert_close(samples.mean(0), tutorial["mean"], atol=0.07, rtol=0)
    torch.testing.assert_close(samples.T.cov(), tutorial["covariance"], atol=0.1, rtol=0)


def test_scores_are_learned_where_the_data_are_and_not_elsewhere(tutorial: dict[str, Any]) -> None:
    assert tutorial["sliced_error"] < 0.1
    assert tutorial["denoising_error"] < 0.1
    assert tutorial["empty_error"] > 2 * tutorial["sliced_error"]


def test_only_annealing_finds_the_weights(tutorial: dict[str, Any]) -> None:
    upper, start = tutorial["in_upper_mode"], tutorial["start"]
    assert upper(tutorial["by_langevin"]) == pytest.approx(upper(start), abs=0.03)
    assert upper(start) == pytest.approx(0.5, abs=0.05)
    assert upper(tutorial["by_annealing"]["exact"]) == pytest.approx(0.8, abs=0.06)
    assert upper(tutorial["by_annealing"]["learned"]) == pytest.approx(0.8, abs=0.12)


def test_wide_noise_leaves_no_region_empty(tutorial: dict[str, Any]) -> None:
    assert tutorial["wide_error"] < 0.05 < tutorial["empty_error"]


def test_digits_have_learned_something(tutorial: dict[str, Any]) -> None:
    assert len(tutorial["train"]) == 1618
    assert max(tutorial["losses"]) < 0.5 * 64  # what s = 0 would have


def test_samples_are_images_of_digits_size(tutorial: dict[str, Any]) -> None:
    digits = tutorial["digits"]
    assert digits.shape == (100, 1, 8, 8)
    assert digits.isfinite().all()
    assert math.isfinite(tutorial["to_nearest"](digits))


def test_completions_keep_the_half_that_is_known(tutorial: dict[str, Any]) -> None:
    completed, images = tutorial["completed"], tutorial["images"]
    assert torch.equal(completed[..., :4], images[..., :4])
    assert (completed[..., 4:] != images[..., 4:]).float().mean() > 0.9


def test_it_writes_its_pictures(tutorial: dict[str, Any]) -> None:
    written = {path.name: path.stat().st_size for path in tutorial["folder"].glob("*.png")}
    assert set(written) == set(PICTURES)
    assert min(written.values()) > 1000
