"""Signals that ask a command to end, once or twice, and clocks that jump: what was begun goes on."""

import random
import signal
import time

from actions import ACTIONS
from harness import CRASH, MISMATCH, OK, REFUSED, Child, Trial, Verdict, run
from kills import goes_on

COMMANDS = [action for action in ACTIONS if action != "caching"]  # which is a call


def interrupted(action: str, trial: Trial) -> Verdict:
    expected = trial.bench.result(action)
    number, twice = trial.random.choice((signal.SIGTERM, signal.SIGINT)), trial.random.random() < 0.2
    child = Child(ACTIONS[action].command(trial.folder), trial.folder)
    time.sleep(0.2 + trial.random.uniform(0, 1) * trial.bench.seconds[action])
    child.kill(number)
    if twice:
        time.sleep(trial.random.uniform(0, 0.1))
        child.kill(number)
    outcome = child.outcome()
    verdict = outcome.verdict
    if verdict.word == REFUSED and outcome.status != 128 + number:
        return Verdict(MISMATCH, f"status {outcome.status} after {number.name}: {verdict.seen}")
    if verdict.word not in (OK, REFUSED) and not (twice and verdict.word == CRASH and outcome.status == -number):
        return verdict
    return goes_on(action, trial, expected)


def clock(action: str, trial: Trial) -> Verdict:
    """The time of day goes back and forth by years."""
    expected, seed = trial.bench.result(action), trial.random.random()

    def jumps() -> None:
        now, away = time.time, random.Random(seed)
        time.time = lambda: now() + away.choice((0, 0, away.uniform(-1e9, 1e9)))

    verdict = run(ACTIONS[action].command(trial.folder), trial.folder, jumps).verdict
    if verdict.word != OK:
        return verdict if verdict.word != REFUSED else Verdict(MISMATCH, verdict.seen)
    return goes_on(action, trial, expected)


ATTACKS = {f"signals: {action}": (lambda trial, action=action: interrupted(action, trial)) for action in COMMANDS}
ATTACKS |= {f"clock: {action}": (lambda trial, action=action: clock(action, trial)) for action in ACTIONS}
