"""Runs of six steps that take a second or two, and what has to be the same of two of them."""

import csv
from pathlib import Path
from typing import Any

import torch


def tiny_ncsn(data_root: str | Path) -> list[str]:
    """Overrides for a run of six steps on the CPU, with a checkpoint every two."""
    return [
        f"data.root={data_root}",
        "data.batch_size=8",
        "model.num_filters=4",
        "noise.num_levels=3",
        "sampler.steps_per_level=2",
        "trainer.accelerator=cpu",
        "trainer.devices=1",
        "trainer.max_steps=6",
        "trainer.log_every_n_steps=1",
        "trainer.val_check_interval=3",
        "trainer.limit_val_batches=1",
        "callbacks.checkpoint.every_n_train_steps=2",
        "callbacks.samples.every_n_steps=0",
    ]


def tiny_unet(data_root: str | Path) -> list[str]:
    """The same for a U-Net, whose few layers take a fifth of the time; for tests to which the network is one."""
    shallow = ["model.multipliers=[1]", "model.num_blocks=1", "model.attention_resolutions=[]"]
    return ["model=unet", "sampler=ald", *shallow, *tiny_ncsn(data_root)]


def tiny_quick(data_root: str | Path) -> list[str]:
    """Overrides for a tiny run of experiment=quick, with pictures and a checkpoint every two steps."""
    left_out = ("noise.", "sampler", "model", "trainer.max_steps", "callbacks.samples")
    changed = ["model.num_filters=4", "model.multipliers=[1]", "sampler.steps=2", "scheduler=constant"]
    pictures = ["callbacks.samples.every_n_steps=2", "callbacks.samples.num_samples=6"]
    own = [given for given in tiny_unet(data_root) if not given.startswith(left_out)]
    return ["experiment=quick", "trainer.max_time=null", *changed, *pictures, *own]


def left_by_training(folder: Path) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The weights at the end, and all that was logged on the way but the speed."""
    whole = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    end = {key: whole[key] for key in ("state_dict", "current_model_state", "optimizer_states", "global_step")}
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [{k: v for k, v in row.items() if k != "images_per_second"} for row in csv.DictReader(file)]
    return end, sorted(rows, key=lambda row: (int(row["step"]), row["val/loss"]))
