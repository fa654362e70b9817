"""The two errors that are the user's to mend; the command lines print them as one line, without a traceback."""


class UserError(Exception):
    """Something outside the code is wrong; the message names it, what was expected, and the way out."""


class ConfigError(UserError):
    """A configuration key is unknown, of the wrong type, or out of range."""


class DataError(UserError):
    """A file or folder is missing, damaged, or not what it should be."""
