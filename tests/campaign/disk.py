"""No room, or no permission: one line, what is complete is kept, and going on later works."""

import resource
import shutil
import subprocess
from pathlib import Path

from actions import ACTIONS, arrays
from harness import DIFFERENT, MISMATCH, OK, REFUSED, Trial, Verdict, is_same, run
from kills import goes_on


def files_too_large(action: str, trial: Trial) -> Verdict:
    """No file may be larger than so many bytes, as under a quota."""
    expected = trial.bench.result(action)
    most = int(10 ** trial.random.uniform(4, 6))
    limit = (most, resource.RLIM_INFINITY)
    outcome = run(
        ACTIONS[action].command(trial.folder), trial.folder, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    )
    verdict = outcome.verdict
    return goes_on(action, trial, expected) if verdict.word in (OK, REFUSED) else verdict


def disk_full(action: str, trial: Trial) -> Verdict:
    """A file system of its own that has little room left, until it is given more."""
    expected = trial.bench.result(action)
    used = sum(-(-path.lstat().st_size // 4096) * 4096 for path in trial.folder.rglob("*"))
    room = used + int(10 ** trial.random.uniform(3.5, 6.3))
    place = trial.folder.with_name(f"{trial.folder.name}-disk")
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}", "none", place], check=True)
    try:
        shutil.copytree(trial.folder, place / "work", symlinks=True)
        inside = trial._replace(folder=place / "work")
        verdict = run(ACTIONS[action].command(inside.folder), inside.folder).verdict
        if verdict.word not in (OK, REFUSED):
            return verdict
        subprocess.run(["mount", "-o", "remount,size=1G", place], check=True)
        return goes_on(action, inside, expected)
    except shutil.Error:  # not even what was there before fits
        return Verdict(OK)
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def read_only(trial: Trial) -> Verdict:
    """Sampling and evaluating from a run that cannot be written: with `out`, and without where all is there."""
    name = trial.random.choice(("sampling", "evaluating", "likelihood"))
    expected, command = trial.bench.result(name), ACTIONS[name].command(trial.folder)
    assert isinstance(command, list)
    there, out = trial.random.random() < 0.5, []
    if there:
        if trial.random.random() < 0.3:
            command = [command[0], "ckpt=run", *command[2:]]  # all checkpoints, or the newest
        run(command, trial.folder)
    else:
        out = ["out=out"] if trial.random.random() < 0.7 else []
    place = trial.folder / "run"
    subprocess.run(["mount", "--bind", place, place], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)
        verdict = run([*command, *out], trial.folder).verdict
    finally:
        subprocess.run(["umount", "-l", place], check=True)
    if verdict.word == REFUSED and (there or out):
        return Verdict(MISMATCH, f"{name}, there={there}, {out}: {verdict.seen}")
    if verdict.word != OK or name != "sampling" or not out:
        return verdict
    return verdict if is_same(arrays(trial.folder, "out/samples.npz"), expected) else Verdict(DIFFERENT, name)


def can_mount(folder: Path) -> bool:
    """Whether this user may mount a file system."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], capture_output=True)
    return done.returncode == 0 and subprocess.run(["umount", folder]).returncode == 0


ATTACKS = {f"quota: {action}": (lambda trial, action=action: files_too_large(action, trial)) for action in ACTIONS}
WHERE_MOUNTED = {
    f"disk full: {action}": (lambda trial, action=action: disk_full(action, trial)) for action in ACTIONS
}
WHERE_MOUNTED["read-only runs"] = read_only
