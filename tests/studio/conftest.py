from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

pytest.importorskip("gradio", reason="the studio is an extra: pip install 'ncsn[studio]'")

from tiny_runs import tiny_quick

from ncsn.studio.networks import Networks


@pytest.fixture(scope="session")
def networks(
    call: Callable[..., Any], data_root: Path, only_run: Callable[[Path], Path], once: Any
) -> Callable[..., Networks]:
    """networks("condition=label", …): the networks of a tiny run on digits with these overrides."""

    def networks(*overrides: str, **settings: Any) -> Networks:
        given = [*tiny_quick(data_root), "callbacks.samples.every_n_steps=0", "trainer.max_steps=4", *overrides]
        given += ["callbacks.checkpoint.save_top_k=-1"]
        name = "studio" + "".join(filter(str.isalnum, "".join(overrides)))
        run = only_run(once(name, lambda cwd: call("train", *given, cwd=cwd)))
        nodes = {"data": {"root": None}, "weights": "ema", "trust": [], "against": None}
        assumptions = {"_target_": "ncsn.checkpoint.Assumptions"}
        config = {"ckpt": str(run), "authors": assumptions} | nodes | settings
        return Networks(OmegaConf.create(config), torch.device("cpu"))

    return networks
