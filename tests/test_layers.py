"""The core needs PyTorch alone: it imports no part of the shell, nor the libraries that the shell is made of."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ncsn

PACKAGE = Path(ncsn.__file__).parent
CORE = ["score", "noise", "objectives", "energy", "random", "samplers", "restoration", "networks"]
SHELL_LIBRARIES = {"lightning", "pytorch_lightning", "hydra", "omegaconf", "wandb"}

FILES = {  # the files of the package by the names of their modules
    ".".join(("ncsn", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
CORE_MODULES = [  # a command's entry, `python -m ncsn.noise`, is no part of what it is named after
    module
    for module in FILES
    if any(f"{module}.".startswith(f"ncsn.{name}.") for name in CORE) and not module.endswith(".__main__")
]


def imports(source: str, module: str, is_package: bool = False) -> set[str]:
    """Names of what a source imports anywhere in it; `from a import b` is a.b where that is a module of ours."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parent = module.split(".")[: -node.level or None]
            if node.level and is_package:
                parent = module.split(".")[: 1 - node.level or None]
            base = ".".join(filter(None, [*(parent if node.level else []), node.module or ""]))
            names = {f"{base}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else base for name in names}
    return found


def imports_of(module: str) -> set[str]:
    path = FILES[module]
    return imports(path.read_text("utf-8"), module, path.name == "__init__.py")


def test_the_core_is_all_there() -> None:
    assert len(FILES) > len(CORE_MODULES) >= len(CORE)
    assert {module.split(".")[1] for module in CORE_MODULES} == set(CORE)


@pytest.mark.parametrize("module", CORE_MODULES)
def test_core_imports_neither_the_shell_nor_its_libraries(module: str) -> None:
    found = imports_of(module)
    assert {name for name in found if name.split(".")[0] in SHELL_LIBRARIES} == set()
    ours = {name for name in found if name.split(".")[0] == "ncsn"}
    assert ours <= set(CORE_MODULES)  # with this for every module of the core, it is so transitively


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import lightning.pytorch as pl", {"lightning.pytorch"}),
        ("def f():\n    from hydra.utils import instantiate", {"hydra.utils"}),
        ("if TYPE_CHECKING:\n    from ncsn.training.module import ScoreModule", {"ncsn.training.module"}),
        ("from ncsn import noise, load_score", {"ncsn.noise", "ncsn"}),
        ("from . import checkpoint", {"ncsn.checkpoint"}),
        ("from .training import module", {"ncsn.training.module"}),
    ],
)
def test_imports_are_found_wherever_they_are(source: str, expected: set[str]) -> None:
    assert imports(source, "ncsn.noise") == expected


def test_relative_imports_in_a_package_are_relative_to_it() -> None:
    assert imports("from .ncsn import NCSN", "ncsn.networks", is_package=True) == {"ncsn.networks.ncsn"}
    assert imports("from .. import noise", "ncsn.networks", is_package=True) == {"ncsn.noise"}
    assert imports("from ..data import cache", "ncsn.networks.ncsn") == {"ncsn.data.cache"}


def test_core_runs_where_the_shells_libraries_are_missing() -> None:
    script = f"""
import importlib, sys, types
for library in {sorted(SHELL_LIBRARIES)}:
    sys.modules[library] = None  # importing it raises ImportError
package = types.ModuleType("ncsn")  # without its __init__, which offers the shell as well
package.__path__ = [{str(PACKAGE)!r}]
sys.modules["ncsn"] = package
for module in {CORE_MODULES}:
    importlib.import_module(module)
print(*sorted(name for name in sys.modules if name.startswith("ncsn.")))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == sorted(CORE_MODULES)
