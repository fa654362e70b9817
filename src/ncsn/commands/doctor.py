"""`ncsn doctor`: what this machine has, what is missing, and what to do about it."""

import importlib.metadata
import os
import platform
import re
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import yaml
from packaging.requirements import Requirement

from ncsn.commands.cli import CONF
from ncsn.commands.ending import Parser
from ncsn.errors import ConfigError, UserError

Verdict = Literal["ok", "hint", "broken"]
MARKS: dict[Verdict, str] = {"ok": "✓", "hint": "·", "broken": "✗"}
LITTLE_DISK = 2**30  # bytes; a run of the demo takes 20 million


class Finding(NamedTuple):
    """One line of what is told.

    Attributes:
        name: of what was looked at.
        verdict: "broken" where commands cannot run without it.
        text: what was found.
        advice: what to do, if anything.
    """

    name: str
    verdict: Verdict
    text: str
    advice: str = ""


def doctor(arguments: list[str]) -> None:
    """Prints what was found; exits with status 1 where something is broken that commands need.

    Raises:
        ConfigError: an argument is not data.root=….
    """
    parser = Parser("ncsn doctor", description="Looks at this machine, and says what to do.")
    parser.add_argument("root", nargs="?", metavar="data.root=…", help="the folder of the data sets; by default data")
    given = parser.parse_args(arguments).root or "data.root=data"
    key, _, root = given.partition("=")
    if key != "data.root" or not root:
        raise ConfigError(f"{given}: must be data.root=<folder>")
    findings = list(examine(Path(root).expanduser()))
    columns = max(shutil.get_terminal_size((120, 24)).columns, 60)
    for finding in findings:
        print("\n".join(_lines(finding, columns)))
    broken = [finding.name for finding in findings if finding.verdict == "broken"]
    whole = "nothing that is needed is broken; ncsn list says what there is to do"
    print(f"\nbroken: {', '.join(broken)}" if broken else f"\n{whole}")
    if broken:
        sys.exit(1)


def examine(root: Path) -> Iterator[Finding]:
    """Looks at everything; what fails to be looked at is broken.

    Args:
        root: of the data sets.
    """
    checks: list[Callable[[], Finding]] = [_packages, _torch, _cpu, _threads, _accelerator, _precision, _compiler]
    checks += [lambda: _data(root), _inception, lambda: _classifiers(root), lambda: _disk(root), _extras]
    for check in checks:
        try:
            yield check()
        except Exception as error:  # whatever it is, the rest is still of use
            name = check.__name__.strip("_") if check.__name__ != "<lambda>" else "folder"
            text = " ".join(str(error).split())[:200] or type(error).__name__
            yield Finding(name, "broken", text, "install this project again: pip install .")


def _lines(finding: Finding, columns: int) -> list[str]:
    whole = finding.text + (f" → {finding.advice}" if finding.advice else "")
    head = f"{MARKS[finding.verdict]} {finding.name:12}"
    wrapper = textwrap.TextWrapper(columns, initial_indent=head, subsequent_indent=" " * len(head))
    wrapper.break_long_words = wrapper.break_on_hyphens = False  # links stay whole
    return wrapper.wrap(whole)


def _requirements() -> Iterator[tuple[str | None, Requirement]]:
    """Each package that is asked for, and the extra that asks."""
    for text in importlib.metadata.requires("ncsn") or []:
        requirement = Requirement(text)
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", str(requirement.marker or ""))
        yield extra and extra[1], requirement


def _lacks(requirement: Requirement) -> str:
    """What is wrong with an installed package; empty if nothing."""
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{requirement.name} is missing"
    if requirement.specifier.contains(version, prereleases=True):
        return ""
    return f"{requirement.name} is {version}, not {requirement.specifier}"


def _packages() -> Finding:
    wrong = [lack for extra, requirement in _requirements() if extra is None and (lack := _lacks(requirement))]
    text = f"ncsn {importlib.metadata.version('ncsn')}, Python {platform.python_version()}, {platform.platform(True)}"
    if wrong:
        return Finding("packages", "broken", f"{text}; {', '.join(wrong)}", "pip install . in a checkout")
    return Finding("packages", "ok", text)


def _torch() -> Finding:
    import torch

    x = torch.ones(1, 1, 4, 4, requires_grad=True)
    torch.nn.functional.conv2d(x, x.detach()).sum().backward()
    build = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "for CPUs alone"
    return Finding("torch", "ok", f"{torch.__version__}, built {build}")


def _cpu() -> Finding:
    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    isa = torch.backends.cpu.get_cpu_capability()
    return Finding("cpu", "ok", f"{usable} of {os.cpu_count()} cores, {platform.machine()}, {isa}")


def _threads() -> Finding:
    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads, policy = torch.get_num_threads(), os.environ.get("OMP_WAIT_POLICY", "")
    text = f"{threads} of PyTorch, OMP_WAIT_POLICY={policy}"
    if threads > usable:
        return Finding(
            "threads", "hint", text, f"they wait for each other on {usable} cores: OMP_NUM_THREADS={usable}"
        )
    if policy.upper() != "PASSIVE":
        return Finding("threads", "hint", text, "OMP_WAIT_POLICY=PASSIVE, or steps slow down beside other work")
    return Finding("threads", "ok", text)


def _accelerator() -> Finding:
    import torch

    if torch.cuda.is_available():
        found = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        return Finding("gpu", "ok", ", ".join(f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB" for gpu in found))
    if torch.backends.mps.is_available():
        return Finding("gpu", "ok", "Apple's, trainer.accelerator=mps")
    if shutil.which("nvidia-smi"):
        advice = "this PyTorch does not reach it: https://pytorch.org/get-started"
        return Finding("gpu", "hint", "none for PyTorch, though nvidia-smi is there", advice)
    return Finding("gpu", "hint", "none", "experiment=quick fits a network to the time you have")


def _precision() -> Finding:
    import torch

    from ncsn.networks.compiled import has_fast_bfloat16

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if has_fast_bfloat16(device):
        return Finding("precision", "ok", f"bfloat16 is fast on the {device}: speed=fast takes it")
    return Finding("precision", "ok", f"bfloat16 is no faster on the {device}: speed=fast stays in float32")


def _compiler() -> Finding:
    named = os.environ.get("CXX")
    found = next((found for name in (named, "g++", "clang++", "cl") if name and (found := shutil.which(name))), None)
    if found is None:
        return Finding("compiler", "hint", "none", "a C++ compiler, g++ say, or leave out speed=fast")
    return Finding("compiler", "ok", f"{found}, for speed=fast")


def _data(root: Path) -> Finding:
    from ncsn import data

    found: list[str] = []
    loaded: list[str] = []
    missing: list[str] = []
    for path in sorted((CONF / "data").glob("*.yaml")):
        node = yaml.safe_load(path.read_text(encoding="utf-8"))
        if node.get("root") != "data":  # a folder of the user's own, which is named when it is used
            continue
        settings = {key: node[key] for key in ("name", "image_size", "channels", "category") if key in node}
        if "download" in node:
            settings["download"] = False
        try:
            getattr(data, node["_target_"].rpartition(".")[2])(root=str(root), **settings).files("train")
            found.append(path.stem)
        except UserError:
            (loaded if "download" in node else missing).append(path.stem)
    text = f"{root}: {', '.join(found)}"
    text += f"; downloaded when used: {', '.join(loaded)}" if loaded else ""
    if not missing:
        return Finding("data", "ok", text)
    advice = "data.root=…, if they are elsewhere; ncsn train data=… says where to get them"
    return Finding("data", "hint", f"{text}; not there: {', '.join(missing)}", advice)


def _inception() -> Finding:
    import torch

    from ncsn.evaluation.inception import WEIGHTS_FILE, WEIGHTS_URL

    path = Path(torch.hub.get_dir(), "checkpoints", WEIGHTS_FILE)
    if path.is_file():
        return Finding("inception", "ok", f"{path}, for FID")
    advice = f"put {WEIGHTS_URL} there, or evaluate with features=classifier or efficientnet"
    return Finding("inception", "hint", f"not in {path.parent}, downloaded when used", advice)


def _classifiers(root: Path) -> Finding:
    found = sorted(path.name.split("-")[0] for path in (root / "classifiers").glob("*.pt"))
    if found:
        return Finding("classifiers", "ok", f"{root / 'classifiers'}: {', '.join(found)}")
    return Finding("classifiers", "ok", f"none in {root / 'classifiers'}; features=classifier trains one in minutes")


def _disk(root: Path) -> Finding:
    places = [Path.cwd(), *([root.absolute()] if root.is_dir() else [])]
    free = {place: shutil.disk_usage(place).free for place in places}
    text = ", ".join(f"{bytes_ / 2**30:.1f} GiB free in {place}" for place, bytes_ in free.items())
    try:
        with tempfile.TemporaryFile(dir=Path.cwd()):
            pass
    except OSError as error:
        return Finding("disk", "broken", f"{Path.cwd()} cannot be written to ({error.strerror})", "another folder")
    if min(free.values()) < LITTLE_DISK:
        return Finding("disk", "hint", text, "make room, or name another disk (run_root=…, data.cache_dir=…)")
    return Finding("disk", "ok", text)


def _extras() -> Finding:
    lacking: dict[str, bool] = {}
    for extra, requirement in _requirements():
        if extra not in (None, "dev"):
            lacking[str(extra)] = lacking.get(str(extra), False) or bool(_lacks(requirement))
    there = ", ".join(extra for extra, lacks in lacking.items() if not lacks) or "none"
    rest = [extra for extra, lacks in lacking.items() if lacks]
    if not rest:
        return Finding("extras", "ok", there)
    return Finding("extras", "hint", f"{there}; not installed: {', '.join(rest)}", f'pip install ".[{rest[0]}]"')
