"""What a shell completes after `ncsn`: a command, and then what Hydra knows of its configuration.

Hydra's script calls what it completes with `--shell-completion query=bash` and the line so far in COMP_LINE, and
expects one configuration behind it.
"""

import os
import re
import sys
from collections.abc import Collection

OPTIONS = ("--shell-completion", "-sc")


def handed_to_hydra(composed: Collection[str], plain: Collection[str]) -> bool:
    """Rewrites the process's arguments, and the line to complete, as if `ncsn <command>` were a program.

    Args:
        composed: commands with a configuration.
        plain: other commands.

    Returns:
        Whether Hydra is to go on with it; otherwise all is said.
    """
    command, arguments = next(iter(composed)), sys.argv[2:]
    if arguments and arguments[0].startswith("query="):
        found = re.match(r"\s*\S+\s+(?P<command>\S*)(?P<rest>.*)", os.environ.get("COMP_LINE", ""), re.DOTALL)
        if found is None or not found["rest"]:
            print(" ".join([*composed, *plain]))
            return False
        command = found["command"]
        if command not in composed:  # what others take is files, which the shell completes by itself
            return False
        os.environ["COMP_LINE"] = f"ncsn{found['rest']}"
    sys.argv[1:] = [command, OPTIONS[0], *arguments]
    return True
