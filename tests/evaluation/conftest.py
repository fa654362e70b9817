from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from judged import Judged, judged

from ncsn.data import MNIST, Digits
from ncsn.evaluation import Classifier, Features, train_classifier


@pytest.fixture(scope="session")
def digits(once: Callable[..., Path]) -> Digits:
    data = Digits(root=str(once("digits", lambda folder: None)))
    data.prepare_data()
    return data


@pytest.fixture(scope="session")
def classifier(digits: Digits) -> Classifier:
    return Classifier.for_data(digits)


@pytest.fixture(scope="session")
def judged_digits(digits: Digits, classifier: Classifier) -> Judged:
    return judged(digits, classifier, 1618)


@pytest.fixture(scope="session")
def judged_mnist(real_data: Path, once: Callable[..., Path]) -> Judged:
    """Trained for seconds only: right about 19 of 20 images."""
    cache = once("mnist-cache", lambda folder: None)
    data = MNIST(root=str(real_data), cache_dir=str(cache), download=False)
    data.prepare_data()

    def make(folder: Path) -> None:
        network = train_classifier(data, steps=80)
        network.save(folder / "network.pt")
        features = judged(data, network, 6_000).features
        torch.save((features.features, features.logits), folder / "features.pt")

    folder = once("judged-mnist", make)
    features = Features(*torch.load(folder / "features.pt"))
    return judged(data, Classifier.load(folder / "network.pt"), 6_000, features)


@pytest.fixture(params=["digits", "mnist"])
def real(request: pytest.FixtureRequest) -> Judged:
    """scikit-learn's digits, which are always there, and MNIST where it is at hand."""
    return request.getfixturevalue(f"judged_{request.param}")
