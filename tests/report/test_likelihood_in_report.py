"""Likelihoods in the report: what they are of and depend on, and how they lie beside those of other images."""

import re
from pathlib import Path

import numpy as np
import pytest
from reading import Page

from ncsn.report.likelihood import likelihood
from ncsn.runs.contents import Contents


def test_the_protocol_stands_in_words_beside_the_numbers(page: Page) -> None:
    text = re.sub(r"\s+", " ", page.text)
    assert "cifar10 val 20 3.5 0.023 198 0.001 cifar10 val, shuffled 20 6.5 0.023 198 0.001 uniform noise" in text
    for words in (
        "uniform, one grey level wide",
        "Divergence estimated (Hutchinson) Vectors per image 1, rademacher",
        "HeunSteps: steps 100, spacing karras, rho 7",
        "Gaussian of the moments of cifar10 train, and σ₁²",
        "Bits per dimension by class, cifar10 val",
        "Classes, in order: cat, dog. Dotted: 3.5, the mean of all.",
        "cifar10 val 20 3.75 0.02 0.002 1.78 1.968 1,000",
        "VariationalBound: variance fixed_small",
        "Levels of the ladder 1000",
    ):
        assert words in text, words


def test_the_histogram_has_every_image_of_every_set(whole: Path) -> None:
    found, _ = likelihood(Contents.read(whole)) or []
    histogram = found.charts[0]
    assert [curve.line.name for curve in histogram.curves] == [
        "cifar10 val",
        "cifar10 val, shuffled",
        "uniform noise",
    ]
    for curve, mean in zip(histogram.curves, (3.5, 6.5, 9.0), strict=True):
        values, shares = np.array(curve.line.points).T
        assert sum(shares[1:-1:2]) == pytest.approx(1)
        assert values.min() <= mean - 0.1 + 1e-9
        assert values.max() >= mean + 0.1 - 1e-9
        assert values.max() - values.min() < 0.5
