"""How a command ends before it is done: with one line, for an error or a signal."""

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from ncsn.errors import Interrupted, one_line


def exit_with(message: str) -> NoReturn:
    """Ends the program with status 2 and one line, in which words that are too long to be read are cut."""
    words = re.sub(r"\S{400,}", lambda word: f"{word[0][:100]}…{word[0][-100:]}", one_line(message).strip())
    _tell(f"error: {words}")
    sys.exit(2)


def _tell(line: str) -> None:
    """Prints to stderr, below the bars that are shown there."""
    bars = getattr(sys.modules.get("tqdm"), "tqdm", None)
    for bar in list(getattr(bars, "_instances", ())):
        bar.close()
    print(line, file=sys.stderr)


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGINT and SIGTERM end what runs within it, with one line; a second one ends the process at once."""

    def end(number: int, _: Any) -> NoReturn:
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        raise Interrupted(number)

    both = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.getsignal(number) for number in both}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # which nohup and shells set for what runs in the background
            signal.signal(number, end)
    try:
        yield
    except Interrupted as interrupted:
        if not rank():
            _tell(interrupted.message)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def rank() -> int:
    """This process among those of a run, by the variables that Lightning reads, too, once it is imported."""
    variables = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
    return next((int(os.environ[name]) for name in variables if name in os.environ), 0)
