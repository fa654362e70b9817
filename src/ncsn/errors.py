"""The two errors that are the user's to mend; the command lines print them as one line, without a traceback."""

import signal


class UserError(Exception):
    """Something outside the code is wrong; the message names it, what was expected, and the way out.

    It is one line, whatever the names of files and keys are in it.
    """

    def __str__(self) -> str:
        return shown(super().__str__(), 3000)


class ConfigError(UserError):
    """A configuration key is unknown, of the wrong type, or out of range."""


class DataError(UserError):
    """A file or folder is missing, damaged, or not what it should be."""


class Interrupted(SystemExit):
    """A signal asked the program to end: with status 128 and its number, as shells have it, and a line that says so.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.message = f"interrupted by {signal.Signals(number).name}"


def shown(value: object, max_length: int = 100) -> str:
    """A value of a file in an error: one line, nothing that a terminal minds, not too long."""
    text = one_line(str(value))
    return text if len(text) <= max_length else f"{text[:max_length]}…"


def one_line(text: str) -> str:
    """A text with spaces in place of what is no printable character."""
    return "".join(c if c.isprintable() else " " for c in text)
