"""Attacks on the commands, random and repeatable: `make campaign`, with a table at the end.

python tests/campaign --minutes 60 --seed 0              as many as the time allows, of every kind in turn
python tests/campaign --only 'kills: training' --first 17 --count 1      that one again
"""

import argparse
import platform
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from random import Random

sys.path.insert(1, str(Path(__file__).parents[1]))  # what tests share

import damage
import disk
import kills
import overrides
import signals
import together
from actions import Bench
from harness import BAD, OK, REFUSED, Trial, Verdict

import ncsn.commands.checkpoint
import ncsn.commands.evaluate
import ncsn.commands.noise
import ncsn.commands.report
import ncsn.commands.sample
import ncsn.commands.train  # noqa: F401  for the forks

KINDS = (kills, signals, together, disk, overrides, damage)
ATTACKS = {name: attack for kind in KINDS for name, attack in kind.ATTACKS.items()}


def main() -> int:
    parser = argparse.ArgumentParser("campaign", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="time for all, at most")
    parser.add_argument("--count", type=int, default=10**9, help="of every kind, at most")
    parser.add_argument("--first", type=int, default=0, help="number of the first of every kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="kinds that begin so, or so: a,b")
    parser.add_argument("--keep", action="store_true", help="keep the folders of failures")
    given = parser.parse_args()
    warnings.filterwarnings("ignore", "Duplicate name")  # of archives that are made to have doubles
    start = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="campaign-"))
    if disk.can_mount(folder):
        ATTACKS.update(disk.WHERE_MOUNTED)
    kinds = [kind for kind in ATTACKS if kind.startswith(tuple(given.only.split(",")))]
    bench = Bench(folder)
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    failures: list[str] = []
    try:
        for number in range(given.first, given.first + given.count):
            for kind in kinds:
                if time.monotonic() - start > 60 * given.minutes:
                    raise TimeoutError
                verdict = attack(kind, number, given.seed, bench, given.keep)
                counts[kind][verdict.word] += 1
                if verdict.word in BAD:
                    failures.append(f"{verdict.word}: {kind} {number}: {verdict.seen}"[:1000])
                    print(f"{failures[-1]}\n  again: --seed {given.seed} --only '{kind}' --first {number} --count 1")
                    sys.stdout.flush()
    except (TimeoutError, KeyboardInterrupt):
        pass  # what there is of the table is printed
    finally:  # also of what an error in an attack itself has ended
        if given.keep:
            print(f"folders: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
        minutes = (time.monotonic() - start) / 60
        where = f"{platform.machine()}, Python {platform.python_version()}"
        print(f"\nseed {given.seed}, {minutes:.1f} minutes, {where}\n")
        print(f"{table(counts)}\n\n{table(by_attack(counts))}", flush=True)
    return 1 if failures else 0


def attack(kind: str, number: int, seed: int, bench: Bench, keep: bool) -> Verdict:
    """The attack of a kind with a number."""
    name = f"{''.join(c if c.isalnum() else '-' for c in kind)}-{number}"
    place = bench.working_folder(name)
    verdict = ATTACKS[kind](Trial(place, Random(f"{seed} {kind} {number}"), bench))
    if not (keep and verdict.word in BAD):
        for path in bench.folder.glob(f"{name}*"):
            shutil.rmtree(path, ignore_errors=True)
    return verdict


def by_attack(counts: dict[str, Counter[str]]) -> dict[str, Counter[str]]:
    """The same, summed over what was attacked."""
    summed: dict[str, Counter[str]] = {}
    for kind, counted in counts.items():
        summed.setdefault(kind.partition(":")[0], Counter()).update(counted)
    return summed


def table(counts: dict[str, Counter[str]]) -> str:
    """One row for each kind, in Markdown."""
    columns = ["tried", OK, REFUSED, *BAD]
    rows = [["kind", *columns], ["---", *("---:" for _ in columns)]]
    rows += [[kind, *(str(n.total() if c == "tried" else n[c]) for c in columns)] for kind, n in counts.items()]
    total: Counter[str] = sum(counts.values(), Counter())
    rows.append(["all", *(str(total.total() if c == "tried" else total[c]) for c in columns)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
