"""Would a test notice that the core is changed? An estimate, from mutants drawn at random of each of its parts.

    pip install -c constraints.txt --group mutation      # pip 25.1 or later
    python tests/mutation.py --mutants 100 --seed 0 [--only noise samplers]

Each mutant is run against the tests of its part alone, until one of them fails. Prints a row of a table for each
part, with Wilson's interval of 95 % for the share that is killed, and what the survivors change. A mutant that runs
for ever is killed, one that no test reaches is not.
"""

import argparse
import shutil
import subprocess
import sys
from collections import Counter
from math import sqrt
from pathlib import Path
from random import Random
from typing import Any

import libcst
from mutmut.configuration import config
from mutmut.mutation import file_mutation
from mutmut.mutation.file_mutation import MutationVisitor, mutate_file_contents
from mutmut.utils.format_utils import get_mutant_name

PARTS = {  # files of src/ncsn, and their tests
    "noise": ("noise/*.py", "tests/noise"),
    "objectives": ("objectives/*.py", "tests/test_objectives.py tests/test_sliced.py tests/test_control_variate.py"),
    "samplers": (
        "samplers/*.py",
        "tests/samplers tests/test_samplers.py tests/test_langevin.py tests/test_metropolis.py "
        "tests/test_budgeted.py tests/test_divergence.py tests/test_released_samplers.py tests/test_restoration.py "
        "tests/sampling/tasks/test_flow.py",
    ),
    "networks": ("networks/*.py", "tests/networks -k 'not compiled or test_the_compiled'"),  # no mutant is traced
    "restoration": (
        "restoration/*.py known.py",
        "tests/test_restoration.py tests/test_objectives.py tests/damage/test_filling.py",
    ),
    "score": (
        "score.py",
        "tests/test_score.py tests/test_conditions.py tests/test_tiled.py tests/damage/test_filling.py",
    ),
    "likelihood": ("likelihood.py", "tests/test_likelihood.py"),
}
MUTABLE = {"torch.no_grad()", "stops_when_diverged"}  # decorators of what mutmut would leave alone
WITH_THESE_TESTS = """
import shlex, sys
sys.path.append("tests")
import mutation
from mutmut.__main__ import cli
from mutmut.configuration import config
config().pytest_add_cli_args_test_selection = shlex.split(sys.argv[1])
cli(["run", "--max-children", sys.argv[2], *sys.argv[3:]])
"""


# mutmut leaves functions with a decorator alone: it would be called for a function and for what calls its mutants.
skips, arranged = MutationVisitor._skip_node_and_children, file_mutation.function_trampoline_arrangement


def is_mutable(node: libcst.CSTNode) -> bool:
    decorators = node.decorators if isinstance(node, libcst.FunctionDef) else []
    names = {libcst.Module([]).code_for_node(of.decorator) for of in decorators}
    return bool(names) and names <= MUTABLE


def decorated_once(function: libcst.FunctionDef, *arguments: Any, **options: Any) -> Any:
    before, (caller, *copies), *after = arranged(function, *arguments, **options)
    if is_mutable(function):
        copies = [copy.with_changes(decorators=[]) for copy in copies]
    return before, [caller, *copies], *after


MutationVisitor._skip_node_and_children = lambda visitor, node: not is_mutable(node) and skips(visitor, node)
file_mutation.function_trampoline_arrangement = decorated_once


def main() -> None:
    parser = argparse.ArgumentParser("mutation", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mutants", type=int, default=100, help="to draw of each part, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    shutil.rmtree("mutants", ignore_errors=True)  # those of a file that is as it was are not made again
    print("| part | mutants | drawn | killed | timeouts | survived | no tests | score | 95 % |")
    print(f"| --- |{' ---: |' * 8}", flush=True)
    for part in given.only:
        files, tests = PARTS[part]
        every = mutants(files)
        drawn = Random(f"{given.seed} {part}").sample(every, min(given.mutants, len(every)))
        with open("mutants.log", "w", encoding="utf-8") as log:
            command = [sys.executable, "-c", WITH_THESE_TESTS, tests, str(given.processes), *drawn]
            subprocess.run(command, check=True, stdout=log, stderr=log)
        became = {name: status for name, status in results().items() if name in set(drawn)}
        print(row(part, len(every), Counter(became.values())))
        for name in sorted(became):
            if became[name] not in ("killed", "timeout"):
                print(mutmut("show", name))
        sys.stdout.flush()


def mutants(files: str) -> list[str]:
    """Names of all mutants of files of src/ncsn."""
    return [
        get_mutant_name(path, name)
        for path in sorted(path for pattern in files.split() for path in Path("src/ncsn").glob(pattern))
        if config().should_mutate(path)
        for name in mutate_file_contents(str(path), path.read_text(encoding="utf-8")).mutant_names
    ]


def results() -> dict[str, str]:
    """What became of the mutants of the last run, in mutmut's words."""
    return dict(line.strip().split(": ") for line in mutmut("results", "--all", "true").splitlines())


def mutmut(*arguments: str) -> str:
    """What a command of mutmut prints."""
    command = [Path(sys.executable).with_name("mutmut"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def row(part: str, every: int, became: Counter[str]) -> str:
    """One of the table, in Markdown."""
    drawn, killed = became.total(), became["killed"] + became["timeout"]
    share, z = killed / drawn, 1.96
    middle, half = share + z**2 / (2 * drawn), z * sqrt(share * (1 - share) / drawn + (z / (2 * drawn)) ** 2)
    low, high = ((middle + sign * half) / (1 + z**2 / drawn) for sign in (-1, 1))
    kinds = [became["killed"], became["timeout"], drawn - killed - became["no tests"], became["no tests"]]
    cells = [part, every, drawn, *kinds, f"{share:.0%}", f"{low:.0%} to {high:.0%}"]
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
