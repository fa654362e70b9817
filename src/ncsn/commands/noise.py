"""`ncsn noise`: noise levels and step size for a data set, without training."""

import logging
from typing import Any, Literal

from omegaconf import DictConfig

from ncsn.commands.hints import Built, Seed
from ncsn.config import build, check
from ncsn.errors import ConfigError
from ncsn.training.levels import Table, is_from_data, resolve_levels

log = logging.getLogger(__name__)

SETTINGS: dict[str, Any] = {
    **dict.fromkeys(("data", "noise", "sampler"), Built),
    "accelerator": Literal["auto", "cpu", "gpu", "cuda"],
    "seed": Seed,
}


def show(config: DictConfig) -> None:
    """Chooses levels and step size, prints their table, and says how to train with them.

    Raises:
        UserError: the configuration or the data are not what they should be.
    """
    config = check(config, SETTINGS)
    if not is_from_data(config) and config.noise.get("_target_") != "ncsn.noise.geometric":
        raise ConfigError(
            f"noise._target_={config.noise.get('_target_')}: the rules that choose levels and step sizes are for "
            "geometric sequences; give noise=from_data, geometric or ncsnv2"
        )
    given = build(config.sampler, "sampler").step_size
    chosen = resolve_levels(config, config.accelerator)
    if chosen is config:  # nothing was left to choose
        log.info(Table(config).text(build(config.noise, "noise"), build(config.sampler, "sampler")))
    command = f"ncsn train data={config.data.name}"
    if is_from_data(config) and given is None:
        steps = config.sampler.steps_per_level
        log.info(f"\nto train with them: {command} noise=from_data sampler.steps_per_level={steps}")
    noise_keys, sampler_keys = ("sigma_max", "sigma_min", "num_levels"), ("steps_per_level", "step_size", "denoise")
    values = [f"noise.{key}={_short(chosen.noise[key])}" for key in noise_keys]
    values += [f"sampler.{key}={_short(chosen.sampler[key])}" for key in sampler_keys]
    log.info(f"\nor, in numbers: {command} {' '.join(values)}")


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value).lower()
