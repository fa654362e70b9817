"""`ncsn studio`: a page in the browser."""

import logging
from importlib.util import find_spec
from threading import Event
from typing import Annotated, Any

from omegaconf import DictConfig
from pydantic import Field

from ncsn.checkpoint import Weights
from ncsn.commands.hints import Count, Name, Node
from ncsn.config import check
from ncsn.errors import ConfigError

log = logging.getLogger(__name__)

SETTINGS: dict[str, Any] = {
    **dict.fromkeys(("data", "authors"), Node),
    **dict.fromkeys(("ckpt", "host", "device"), Name),
    "against": Name | None,
    "port": Annotated[int, Field(ge=1, le=65535)] | None,
    "at_once": Count | None,
    "weights": Weights,
    "trust": list[str],
}


def studio(config: DictConfig) -> None:
    """Serves the page until it is interrupted.

    Raises:
        UserError: the configuration or a checkpoint are not what they should be.
    """
    config = check(config, SETTINGS)
    if find_spec("gradio") is None:
        raise ConfigError("ncsn studio: needs Gradio; pip install 'ncsn[studio]'")
    from ncsn.studio.networks import Networks, device_of
    from ncsn.studio.page import Studio

    logging.getLogger("httpx").setLevel(logging.WARNING)  # which tells of every request
    device = device_of(config.device)
    networks = Networks(config, device)
    at_once = config.at_once or (1 if device.type == "cpu" else 2)
    page, address = Studio(networks, config.ckpt, at_once).serve(config.host, config.port)
    log.info(f"{networks.first.name} is at {address} (Ctrl+C ends it)")
    try:
        Event().wait()
    finally:
        page.close(verbose=False)
