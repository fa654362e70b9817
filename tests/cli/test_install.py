"""What `pip install .` installs: every module, every configuration and what the report needs, and nothing else."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of the files that git knows, or would add."""
    pytest.importorskip("setuptools", minversion="77", reason="a build would download it")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    named = ["src", "conf", "pyproject.toml", "README.md", "LICENSE"]
    files = subprocess.run([*listed, *named], cwd=root, capture_output=True, text=True)
    if files.returncode:
        pytest.skip("not a checkout")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in files.stdout.splitlines():
        if (root / name).is_file():
            path = source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((root / name).read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", target, source], check=True, timeout=120)
    (path,) = target.iterdir()
    return zipfile.ZipFile(path)


def test_the_wheel_holds_modules_configurations_and_data_once_and_nothing_else(
    wheel: zipfile.ZipFile, root: Path
) -> None:
    package = root / "src" / "ncsn"
    expected = [f"ncsn/{path.relative_to(package)}" for path in package.rglob("*.py")]
    expected += [f"ncsn/conf/{path.relative_to(root / 'conf')}" for path in (root / "conf").rglob("*.yaml")]
    kinds = (".css", ".html", ".jinja", ".js", ".md", ".safetensors", ".typed")
    data = [path for path in package.rglob("*") if path.suffix in kinds]
    expected += [f"ncsn/{path.relative_to(package)}" for path in data]
    held = [name for name in wheel.namelist() if ".dist-info/" not in name]
    assert sorted(held) == sorted(expected)


def test_it_brings_the_command(wheel: zipfile.ZipFile) -> None:
    (points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "ncsn = ncsn.commands.cli:main" in wheel.read(points).decode()


def test_installed_it_finds_its_configurations(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path / "site")
    script = "from ncsn.commands.cli import CONF, main; print(CONF); main(['train', '--cfg', 'job', 'data=mnist'])"
    command = [sys.executable, "-c", script]
    path = {"PYTHONPATH": str(tmp_path / "site"), "PATH": ""}
    done = subprocess.run(command, cwd=tmp_path, env=path, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[0] == str(tmp_path / "site" / "ncsn" / "conf")
    assert "_target_: ncsn.data.MNIST" in done.stdout
