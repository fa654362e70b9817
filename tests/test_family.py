"""What docs/family.md says is equal is equal, its orders are right, and the samplers have the lines that it quotes."""

import contextlib
import io
import re
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).parents[1] / "docs" / "family.md"
SAMPLERS = Path(__file__).parents[1] / "src" / "ncsn" / "samplers"


@pytest.fixture(scope="module")
def printed() -> str:
    """What the page's Python prints; the reference of the orders takes fewer steps than there."""
    source = "\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL))
    source, count = re.subn(r"steps=2000", "steps=600", source)
    assert count == 1
    before, out = torch.get_default_dtype(), io.StringIO()
    try:
        with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(out):
            exec(compile(source, str(PAGE), "exec"), {"__name__": "family"})
    finally:
        torch.set_default_dtype(before)
    return out.getvalue()


@pytest.mark.parametrize("what", ["DDPM: ", "DDIM with η = 1 and DDPM: ", "EDM's loss: "])
def test_what_is_equal_is_equal(printed: str, what: str) -> None:
    (difference,) = re.findall(rf"^{what}(\S+)", printed, re.MULTILINE)
    assert float(difference) < 1e-10


@pytest.mark.parametrize(("name", "order"), [("DDIM", 1), ("Heun", 2), ("DPM-Solver\\+\\+", 2)])
def test_half_the_step_size_makes_the_error_smaller_by_the_order(printed: str, name: str, order: int) -> None:
    (ratio,) = re.findall(rf"^{name} .*ratio (\S+)", printed, re.MULTILINE)
    assert float(ratio) == pytest.approx(2**order, rel=0.1)


def test_the_lines_it_quotes_are_those_of_the_samplers() -> None:
    quoted = re.findall(
        r"^    (\S.* = .*)$", re.sub(r"```.*?```", "", PAGE.read_text("utf-8"), flags=re.DOTALL), re.MULTILINE
    )
    quoted = [line for line in quoted if "apart" not in line]
    source = re.sub(r" +#.*", "", "\n".join(path.read_text("utf-8") for path in SAMPLERS.glob("*.py")))
    assert len(quoted) >= 8
    assert [line for line in quoted if line not in source] == []
