"""How a command ends before it is done: with one line, for an error or a signal."""

import argparse
import errno
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from omegaconf.errors import OmegaConfBaseException

from ncsn.errors import Interrupted, UserError, one_line, shown

_OF_THE_DISK = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class Parser(argparse.ArgumentParser):
    """Of a command with arguments of its own: what is wrong with them is told in one line, the usage in it."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} ({' '.join(self.format_usage().split())})")


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


def as_user_error(error: Exception) -> UserError | None:
    """What ends the program with one line instead of a traceback; None for what is a defect of this project."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
        return UserError(
            f"{error.filename or 'a file'}: cannot be written ({error.strerror}); what is complete is kept: make "
            "room, or name another folder (out=…, hydra.run.dir=…, data.cache_dir=…), and call again"
        )
    if isinstance(error, OSError) and error.errno and error.filename:  # a name that is too long, or of something else
        return UserError(f"{shown(error.filename, 300)}: cannot be used ({error.strerror}); give another one")
    if isinstance(error, OmegaConfBaseException):
        return UserError(f"{error.full_key or 'configuration'}: {str(error).splitlines()[0]}")
    out_of_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if out_of_memory or "can't allocate memory" in str(error):  # the last are PyTorch's words for the CPU's memory
        return UserError(
            f"not enough memory ({str(error).splitlines()[0]}); smaller batches (data.batch_size=…, batch_size=…), "
            "fewer noise levels or a smaller network take less"
        )
    if type(error).__name__ == "ProcessRaisedException":  # holds the traceback of a process that PyTorch has spawned
        last = re.search(r"^ncsn\.errors\.\w+: (.+)\Z", str(error).strip(), re.MULTILINE | re.DOTALL)
        return UserError(" ".join(last[1].split())) if last else None
    if rank():  # often a consequence of what another process tells at length
        message = " ".join(str(error).split())
        return UserError(f"process {rank()}: {type(error).__name__}: {message} (HYDRA_FULL_ERROR=1 shows where)")
    return None
