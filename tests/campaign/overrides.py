"""Keys of every command's configuration with values that nobody means: success or one line."""

import shutil
from collections.abc import Iterator
from functools import cache
from random import Random
from typing import Any

from actions import BITS, CHECKPOINT, CPU, EVALUATE, QUIET, SAMPLE, TRAIN
from harness import OK, REFUSED, Trial, Verdict, run
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from ncsn.commands.cli import CONF

STARTS = {  # command lines that end within a second or two; a wrong override comes behind
    "train": ["train", QUIET, *TRAIN, "hydra.run.dir=new"],
    "sample": [*(given for given in SAMPLE if not given.startswith("num_samples")), "num_samples=2"],
    "evaluate": EVALUATE,
    "evaluate bits": BITS,
    "noise": ["noise", "data.root=data", "accelerator=cpu"],
    "sample encode": ["sample", CHECKPOINT, "task=encode", "task.images=images/0.png", *CPU],
    "sample inpaint": ["sample", CHECKPOINT, "task=inpaint", "num_samples=1", "task.images=images/0.png", *CPU],
}
PLAIN = ["convert", "report", "push"]
SECONDS = 6.0  # that a command may be at work

NUMBERS = ["0", "-1", "1", "2", "3.5", "1e3", "1e-50", "1e30", "1e400", "-1e400", "nan", ".nan", "inf", "-.inf"]
NUMBERS += ["100000000000", "9223372036854775808", "-9223372036854775809", "1" * 400, "0x10", "1_000", "5.", "-0.0"]
WORDS = ["null", "true", "false", "no", "off", "yes", "abc", "''", '""', "' '", "auto", "all", "none", "cpu", "???"]
WORDS += ["ü", "日本", "'\u202e\u0007'", "'\\n'", "a b", "a,b", "1,2", "%s%d", "{}", "{0}", "-", "$HOME"]
WORDS += ["~", "~nobody/x", "/", ".", "..", "/dev/null"]
WORDS += ["${seed}", "${nokey}", "'${nokey}'", "${oc.env:HOME}", "'${oc.env:NOTSET}'", "${", "'${'"]
STRUCTURES = ["[]", "[1]", "[[]]", "[null]", "[1,a]", "[1,[2,[3]]]", "[0.1,1e400]", "[true]", "['']"]
STRUCTURES += ["{}", "{a:1}", "{a:{b:null}}", "{_target_:nowhere.X}", "{_target_:int}"]
STRUCTURES += ["range(3)", "choice(1,2)", "int(x)", "glob(*)", "shuffle(1,2)", "[" * 200 + "]" * 200]
# What is right, and does what an attack is not to do.
ASKED_FOR = {("out", "/"), ("data.root", "/"), ("trainer.devices", "2"), ("trainer.devices", "5.")}


@cache
def keys(start: str) -> list[str]:
    """Every node and leaf of what a command composes, and a few that are not there."""
    command, *given = STARTS[start]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(command, [o for o in given if not o.startswith("hydra.")])
    return list(_keys(OmegaConf.to_container(config), ""))


def _keys(node: Any, key: str) -> Iterator[str]:
    for name, value in node.items() if isinstance(node, dict) else ():
        inner = f"{key}.{name}" if key else str(name)
        yield inner
        yield from _keys(value, inner)


def value(random: Random) -> str:
    """A value, as it is typed."""
    kind = random.randrange(10)
    if kind == 0:
        return "x" * random.choice((300, 5000, 100_000))
    if kind == 1:
        return str(random.randrange(-(10 ** random.randrange(1, 20)), 10 ** random.randrange(1, 20)))
    if kind == 2:
        return repr(random.uniform(-1, 1) * 10 ** random.randrange(-30, 30))
    return random.choice(random.choice((NUMBERS, WORDS, STRUCTURES)))


def override(start: str, random: Random) -> str:
    """A wrong override of a command line, most of them of a key that is there."""
    key, given = random.choice(keys(start)), value(random)
    form = random.randrange(20)
    if (key, given) in ASKED_FOR or key == "trainer.num_nodes":  # most numbers of which wait for other machines
        given = "-2"
    if form == 0:
        return f"~{key}"
    if form == 1:
        return f"+{key}.{random.choice(('x', '_target_', '_partial_', '_args_', '_convert_'))}={given}"
    if form == 2:
        return f"{random.choice(('+', '++'))}{key}={given}"
    return f"{key}={given}"


def attack(start: str, trial: Trial) -> Verdict:
    wrong = [override(start, trial.random) for _ in range(trial.random.choice((1, 1, 1, 2)))]
    return _judged([*STARTS[start], *wrong], wrong, trial)


def attack_plain(command: str, trial: Trial) -> Verdict:
    """The commands with arguments of their own."""
    random = trial.random
    inputs = ["run", CHECKPOINT.removeprefix("ckpt="), value(random), value(random)]
    own = [random.choice(inputs), random.choice((*inputs, "out.ckpt", "out.safetensors", "out", "format=diffusers"))]
    options = ["--weights", "--num-levels", "--sigma-max", "--image-size", "--experiment", "--trust", "--private"]
    own += [part for _ in range(random.randrange(3)) for part in (random.choice(options), value(random))]
    return _judged([command, *own], own, trial)


def _judged(command: list[str], wrong: list[str], trial: Trial) -> Verdict:
    if any("\0" in part for part in command):
        return Verdict(REFUSED)
    verdict = run(command, trial.folder, seconds=SECONDS, long_is_fine=True).verdict
    shutil.rmtree(trial.folder / "new", ignore_errors=True)
    shown = " ".join(part if len(part) < 200 else f"{part[:60]}… ({len(part)} letters)" for part in wrong)
    return (
        verdict if verdict.word in (OK, REFUSED) else Verdict(verdict.word, f"{command[0]} {shown}: {verdict.seen}")
    )


ATTACKS = {f"overrides: {start}": (lambda trial, start=start: attack(start, trial)) for start in STARTS}
ATTACKS |= {f"arguments: {name}": (lambda trial, name=name: attack_plain(name, trial)) for name in PLAIN}
