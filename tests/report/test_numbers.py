"""Numbers and settings in words."""

import pytest
from fake_run import CHECKSUM

from ncsn.report.numbers import in_digits, in_words, node_in_words


@pytest.mark.parametrize(
    ("value", "words"),
    [(15_000, "15,000"), (0.084614, "0.08461"), (-2.5, "−2.5"), (123_456.7, "123,457"), (4e-5, "4e-05"), (0.0, "0")],
)
def test_numbers(value: float, words: str) -> None:
    assert in_digits(value) == words


def test_settings_in_words() -> None:
    given = {"a_b": True, "seed": 2020, "c": [0.9, 0.999], "d": None, "e": CHECKSUM, "f": {"g": 1e-8}}
    assert in_words(given) == "a b yes, seed 2020, c (0.9, 0.999), d none, e 6726825d0a, f g 1e-08"
    assert node_in_words({"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.001}) == "Adam: lr 0.001"
