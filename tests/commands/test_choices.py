"""`ncsn list` says what there is to choose from."""

import pytest

from ncsn.commands.choices import GROUPS, about, choices
from ncsn.commands.cli import CONF
from ncsn.errors import ConfigError


@pytest.mark.parametrize("group", GROUPS)
def test_every_choice_says_what_it_is(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    choices([group])
    title, *lines = capsys.readouterr().out.splitlines()
    files = sorted((CONF / group).glob("*.yaml"))
    found = [line.split()[0] for line in lines]
    assert title.startswith(f"{group}=…")
    assert sorted(found) == [file.stem for file in files]
    assert group != "sampler" or found.index("ald_30") < found.index("ald_100") < found.index("ald_300")
    assert all(about(file) for file in files)


def test_a_group_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^samplers: no such group; did you mean sampler\?"):
        choices(["samplers"])
