"""Two of everything at once: both succeed, or one says that the other is at it; what is left is as of one."""

import csv
import time

from actions import ACTIONS, QUIET, TRAIN
from harness import MISMATCH, OK, REFUSED, Child, Command, Trial, Verdict, is_same, run
from kills import goes_on
from tiny_runs import left_by_training

RESUME = ["train", QUIET, "resume=run", "trainer.max_steps=8"]
SWEEP = ["train", QUIET, *TRAIN, "trainer.max_steps=2", "noise.num_levels=2,3", "sweep=two", "-m"]
TRAINING = ("training", "Palette")


def both(command: Command, trial: Trial, seconds: float) -> list[Verdict]:
    """How two of a command end that begin within a while."""
    first = Child(command, trial.folder)
    time.sleep(trial.random.choice((0, trial.random.uniform(0, seconds))))
    second = Child(command, trial.folder)
    return [child.outcome().verdict for child in (first, second)]


def _failed(verdicts: list[Verdict], allowed: tuple[str, ...]) -> Verdict | None:
    """The first that is not allowed; one of them has to succeed."""
    wrong = [verdict for verdict in verdicts if verdict.word not in (OK, *allowed)]
    if not wrong and OK not in [verdict.word for verdict in verdicts]:
        wrong = verdicts
    return next((v if v.word != REFUSED else Verdict(MISMATCH, f"refused: {v.seen}") for v in wrong), None)


def two(action: str, trial: Trial) -> Verdict:
    expected = trial.bench.result(action)
    verdicts = both(ACTIONS[action].command(trial.folder), trial, trial.bench.seconds[action])
    if action in TRAINING:
        failed = _failed(verdicts, (REFUSED,))
        if failed is None and not is_same(ACTIONS[action].result(trial.folder), expected):
            failed = Verdict(MISMATCH, "leave another result")
        return failed or Verdict(OK)
    return _failed(verdicts, ()) or goes_on(action, trial, expected)


def two_resumes(trial: Trial) -> Verdict:
    if "two resumes" not in trial.bench.results:
        folder = trial.bench.working_folder("one-resume")
        assert run(RESUME, folder).verdict.word == OK
        trial.bench.results["two resumes"] = left_by_training(folder / "run")
    failed = _failed(both(RESUME, trial, 1.5), (REFUSED,))
    if failed is None and not is_same(left_by_training(trial.folder / "run"), trial.bench.results["two resumes"]):
        failed = Verdict(MISMATCH, "leave another result")
    return failed or Verdict(OK)


def two_sweeps(trial: Trial) -> Verdict:
    verdicts = both(SWEEP, trial, 3)
    failed = next((v for v in verdicts if v.word not in (OK, REFUSED)), None)
    if failed is not None:
        return failed
    verdict = run(SWEEP, trial.folder).verdict
    if verdict.word != OK:
        return Verdict(MISMATCH, f"does not go on: {verdict}")
    with (trial.folder / "runs/sweeps/two/results.csv").open(newline="") as file:
        status = [row["status"] for row in csv.DictReader(file)]
    return Verdict(OK) if status == ["finished", "finished"] else Verdict(MISMATCH, f"a table of {status}")


ATTACKS = {f"two at once: {action}": (lambda trial, action=action: two(action, trial)) for action in ACTIONS}
ATTACKS |= {"two at once: resuming": two_resumes, "two at once: sweeps": two_sweeps}
