"""The core needs PyTorch alone: it imports no part of the shell, nor the libraries that the shell is made of."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ncsn

PACKAGE = Path(ncsn.__file__).parent
CORE = ["score", "known", "conditions", "damage", "noise", "objectives", "energy", "random", "flow", "likelihood"]
CORE += ["mixture", "bound", "samplers", "restoration", "networks"]
SHELL_LIBRARIES = {
    *("lightning", "pytorch_lightning", "hydra", "omegaconf", "wandb", "pydantic"),
    *("torchvision", "sklearn", "torchmetrics", "torch_fidelity", "PIL", "matplotlib", "tensorboard"),
}
HEAVY = {"torch._inductor", "torch._dynamo"}  # parts of PyTorch that take a second or more to import

CORE_FILES = {  # by the names of their modules
    ".".join(("ncsn", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
    if path.relative_to(PACKAGE).with_suffix("").parts[0] in CORE
}


def imports(source: str) -> set[str]:
    """Names of the modules that a source imports anywhere in it; of `from ncsn import a, b` those of a and b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute in this project"
            base = str(node.module)
            found |= {f"ncsn.{alias.name}" for alias in node.names} if base == "ncsn" else {base}
    return found


def test_importing_the_core_loads_nothing_of_the_shell() -> None:
    """All of it in one fresh process: whatever a module brings along shows in `sys.modules`."""
    script = f"""
import importlib, sys
for module in ["ncsn", *{sorted(CORE_FILES)}]:
    importlib.import_module(module)
print(*sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    loaded = set(run.stdout.split())
    assert {name.split(".")[1] for name in CORE_FILES} == set(CORE)
    assert {name for name in loaded if name.split(".")[0] in SHELL_LIBRARIES or name in HEAVY} == set()
    assert {name for name in loaded if name.startswith("ncsn.")} == set(CORE_FILES)


@pytest.mark.parametrize("module", sorted(CORE_FILES))
def test_the_core_imports_nothing_of_the_shell_inside_a_function_either(module: str) -> None:
    found = imports(CORE_FILES[module].read_text("utf-8"))
    assert {name for name in found if name.split(".")[0] in SHELL_LIBRARIES} == set()
    assert {name for name in found if name.split(".")[0] == "ncsn"} <= set(CORE_FILES)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import lightning.pytorch as pl", {"lightning.pytorch"}),
        ("def f():\n    from hydra.utils import instantiate", {"hydra.utils"}),
        ("if TYPE_CHECKING:\n    from ncsn.training.module import ScoreModule", {"ncsn.training.module"}),
        ("from ncsn import noise, load_score", {"ncsn.noise", "ncsn.load_score"}),
    ],
)
def test_imports_are_found_wherever_they_are(source: str, expected: set[str]) -> None:
    assert imports(source) == expected


ROOMS = [
    *CORE,
    "errors",
    "values",
    "files",
    "images",
    "pickles",
    "config",
    "runs",
    "compiling",
    "data",
    "checkpoint",
    "sampling",
    "evaluation",
]
ROOMS += ["training", "report", "studio", "commands", "__main__"]  # each imports only what stands before it


def test_data_flows_one_way() -> None:
    """What a run leaves and what is drawn, scored and reported is known to nothing that comes before it."""
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if room == "__init__":
            continue
        found = {name.split(".")[1] for name in imports(path.read_text("utf-8")) if name.startswith("ncsn.")}
        above = set() if room in CORE else found - set(ROOMS[: ROOMS.index(room) + 1])
        assert above == set(), path


def test_no_command_calls_another() -> None:
    helpers = {f"ncsn.commands.{name}" for name in ("cli", "arguments", "completion", "ending", "hints", "resume")}
    for path in (PACKAGE / "commands").glob("*.py"):
        found = {name for name in imports(path.read_text("utf-8")) if name.startswith("ncsn.commands.")}
        assert found <= helpers, path
