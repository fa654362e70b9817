"""Networks compiled for `speed=fast`: how long it takes is told, and what comes of it is kept for later processes."""

import logging
import os
from pathlib import Path
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
    folder = kept_in()
    if folder is not None:
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))  # before PyTorch puts its own choice there
    with as_config_error("compile=true"):
        compile_in_place(network, cuda_graphs=cuda_graphs)
    _tell()


def kept_in() -> Path | None:
    """The user's own folder for what was compiled; None where there is none that can be written to.

    By itself PyTorch keeps it in a folder for all, which is empty after the next start of the machine.
    """
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ncsn" / "compiled"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return None
    return folder if os.access(folder, os.W_OK) else None


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
