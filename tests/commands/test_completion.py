"""Completion in a shell: Hydra's script in bash itself."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PRESS_TAB = """
eval "$(ncsn {install})"
complete -p ncsn
tab() {{
    COMP_LINE=$1; COMP_POINT=${{#1}}; COMP_WORDS=($1); [[ $1 == *" " ]] && COMP_WORDS+=("")
    COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=(); hydra_bash_completion; echo "${{COMPREPLY[@]}}"
}}
{lines}
"""


EXPECTED = {
    "ncsn sam": "sample",
    "ncsn train data=mni": "data=mnist",
    "ncsn train data=mnist model.num_f": "model.num_filters=",
    "ncsn report no-such-ru": "",  # whose arguments are files
}


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("install", "typed"), [("--shell-completion install=bash", list(EXPECTED)), ("train -sc install=bash", [])]
)
def test_bash_completes_commands_keys_and_choices(install: str, typed: list[str], tmp_path: Path) -> None:
    program = tmp_path / "ncsn"
    program.write_text(f"#!{sys.executable}\nfrom ncsn.commands.cli import main\nmain()\n")
    program.chmod(0o755)
    script = PRESS_TAB.format(install=install, lines="\n".join(f'tab "{line}"' for line in typed))
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, timeout=120)
    registered, *completed = done.stdout.splitlines()
    assert registered.endswith("-F hydra_bash_completion ncsn"), done.stderr
    assert completed == [EXPECTED[line] for line in typed]
