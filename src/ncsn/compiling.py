"""Networks compiled for `speed=fast`, and how long that takes told."""

import logging
from time import monotonic

from torch import nn

from ncsn.config import as_config_error
from ncsn.networks.compiled import compile_in_place
from ncsn.runs.folder import global_rank

log = logging.getLogger(__name__)


def compile_network(network: nn.Module, *, cuda_graphs: bool = False) -> None:
    """`compile_in_place` as the commands do it.

    Args:
        network: s(x, σ).
        cuda_graphs: see there.

    Raises:
        ConfigError: it cannot be compiled.
    """
    with as_config_error("compile=true"):
        compile_in_place(network, cuda_graphs=cuda_graphs)
    _tell()


def _tell() -> None:
    """Has every compilation of more than a second tell how long it took, until the next network is compiled."""
    from torch._dynamo.callback import on_compile_end, on_compile_start  # a second to import, and of use here alone

    began = 0.0

    def start(*_: object) -> None:
        nonlocal began
        began = monotonic()

    def end(*_: object) -> None:
        seconds = monotonic() - began
        if seconds > 1 and not global_rank():
            log.info(f"compiled in {seconds:.0f} s")

    on_compile_start(start)
    on_compile_end(end)
