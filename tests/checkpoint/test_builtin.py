"""The networks that come with the package: small, described, loaded by name, and good for what they are there for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from ncsn.checkpoint import builtin, load_score, save_score
from ncsn.errors import DataError


@pytest.mark.parametrize("name", builtin.names())
def test_each_is_small_described_and_tells_nothing_of_where_it_was_made(name: str) -> None:
    file = builtin.find(f"builtin:{name}")
    assert file.stat().st_size <= 2 * 2**20
    assert f"builtin:{name}" in file.with_suffix(".md").read_text(encoding="utf-8")
    with safe_open(file, "pt") as content:
        assert "/" not in content.metadata()["config"]


def test_one_that_is_not_there_is_one_error() -> None:
    with pytest.raises(DataError, match=r"builtin:imagenet: no network of this name .* \(there is builtin:mnist\)"):
        load_score("builtin:imagenet")


def test_half_the_size_holds_its_weights_and_is_read_as_float32(tmp_path: Path) -> None:
    score = load_score("builtin:mnist")
    for name, half in (("whole", False), ("half", True)):
        save_score(score, tmp_path / f"{name}.safetensors", half=half)
    whole, half = (tmp_path / f"{name}.safetensors" for name in ("whole", "half"))
    assert half.stat().st_size < 0.52 * whole.stat().st_size
    torch.testing.assert_close(
        load_score(half).network.state_dict(), score.network.state_dict(), rtol=0, atol=0
    )  # whose values were float16 before


def test_its_digits_are_read_as_digits_by_a_classifier_that_never_saw_them(
    call: Callable[..., Any], tmp_path: Path
) -> None:
    """Support vectors of scikit-learn's digits, other people's handwriting at 8×8."""
    call("sample", "ckpt=builtin:mnist", "label=all", "guidance=1.5", "num_samples=30", cwd=tmp_path)
    (archive,) = (tmp_path / "runs" / "builtin" / "mnist" / "samples").glob("*/samples.npz")
    images, digits = np.load(archive)["arr_0"][..., 0], load_digits()
    classifier = SVC(gamma=0.001).fit(digits.data, digits.target)
    found = classifier.predict([as_scikit_learn_has_it(image) for image in images])
    assert (found == np.arange(30) % 10).mean() > 0.5


def as_scikit_learn_has_it(image: np.ndarray) -> np.ndarray:
    """A digit as tall as the image, its ink in blocks of 4×4 pixels (archive.ics.uci.edu/dataset/80).

    Of real test images of MNIST, made smaller in this way, 68 % are read as what they are.
    """
    ink = image > 50
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    digit = torch.from_numpy(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32) / 255)
    width = min(24, max(4, round(32 * digit.shape[1] / digit.shape[0])))
    tall = F.interpolate(digit[None, None], (32, width), mode="bilinear")
    left = (32 - width) // 2
    return 16 * F.avg_pool2d(F.pad(tall, (left, 32 - width - left)), 4).flatten().numpy()
