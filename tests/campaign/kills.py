"""SIGKILL at random moments, up to three times; then it goes on, and is as if nothing had been."""

import time

from actions import ACTIONS
from harness import CRASH, MISMATCH, OK, Child, Trial, Verdict, is_same, run


def kill(action: str, trial: Trial) -> Verdict:
    expected = trial.bench.result(action)
    for _ in range(trial.random.choice((1, 1, 2, 3))):
        child = Child(ACTIONS[action].command(trial.folder), trial.folder)
        time.sleep(trial.random.uniform(0, 1.1) * trial.bench.seconds[action])
        child.kill()
        verdict = child.outcome().verdict
        if verdict.word not in (OK, CRASH):
            return verdict
    return goes_on(action, trial, expected)


def goes_on(action: str, trial: Trial, expected: object) -> Verdict:
    """What was cut short goes on to the same result, and leaves nothing but it."""
    verdict = run(ACTIONS[action].command(trial.folder), trial.folder).verdict
    if verdict.word != OK:
        return Verdict(MISMATCH, f"does not go on: {verdict.word}, {verdict.seen}")
    if not is_same(ACTIONS[action].result(trial.folder), expected):
        return Verdict(MISMATCH, "goes on to another result")
    left = [str(p.relative_to(trial.folder)) for p in trial.folder.rglob("*") if p.suffix in (".partial", ".tmp")]
    return Verdict(MISMATCH, f"leaves {left[0]}") if left else Verdict(OK)


ATTACKS = {f"kills: {action}": (lambda trial, action=action: kill(action, trial)) for action in ACTIONS}
