"""What Lightning would take, and what nobody means, is refused by the settings of the commands."""

import pytest
from composing import asked

from ncsn.commands import evaluate, noise, sample, train
from ncsn.config import check
from ncsn.errors import ConfigError

SETTINGS = {
    "train": train.SETTINGS,
    "sample": sample.SETTINGS,
    "evaluate": evaluate.SETTINGS,
    "noise": noise.SETTINGS,
}


@pytest.mark.parametrize("command", ["train", "sample ckpt=x", "evaluate", "noise"])
def test_what_is_given_by_default_is_as_the_settings_say(command: str) -> None:
    name, *given = command.split()
    check(asked(given, name), SETTINGS[name])


@pytest.mark.parametrize(
    ("command", "key", "value"),
    [
        ("train", "trainer.max_steps", "0"),
        ("train", "trainer.max_epochs", "0"),
        ("train", "trainer.accumulate_grad_batches", "0"),
        ("train", "trainer.log_every_n_steps", "0"),
        ("train", "trainer.val_check_interval", "0"),
        ("train", "trainer.gradient_clip_val", "-1"),
        ("train", "trainer.devices", "1000"),
        ("train", "trainer.precision", "bf16-true"),
        ("train", "trainer.precision", "64"),
        ("train", "callbacks.checkpoint.filename", "mine"),
        ("train", "seed", "-1"),
        ("train", "run_root", "''"),
        ("sample ckpt=x", "seed", "true"),
        ("sample ckpt=x", "trainer.devices", "1000"),
        ("sample ckpt=x", "compile", "auto"),
        ("sample ckpt=x", "out", "[]"),
        ("sample", "ckpt", "''"),
        ("sample ckpt=x", "authors", "null"),
        ("evaluate", "trainer.devices", "1000"),
        ("evaluate", "trainer.logger", "abc"),
        ("sample ckpt=x", "trainer.logger", "[null]"),
        ("sample ckpt=x", "trainer.num_nodes", "1000000"),
        ("evaluate", "against", "0"),
        ("evaluate", "seed", "4294967296"),
        ("evaluate", "num_projections", "1e12"),
        ("noise", "accelerator", "tpu"),
        ("noise", "seed", "-1"),
    ],
)
def test_what_is_refused_is_named(command: str, key: str, value: str) -> None:
    name, *given = command.split()
    with pytest.raises(ConfigError, match=f"^(data\\.)?{key}=.*: must "):
        check(asked([*given, f"{key}={value}"], name), SETTINGS[name])
