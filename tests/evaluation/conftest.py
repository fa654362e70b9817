from pathlib import Path

import pytest
from judged import Judged, judged

from ncsn.data import MNIST, Digits
from ncsn.evaluation import Classifier, train_classifier


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    data = Digits(root=str(tmp_path_factory.mktemp("digits")))
    data.prepare_data()
    return data


@pytest.fixture(scope="session")
def classifier(digits: Digits) -> Classifier:
    return Classifier.for_data(digits)


@pytest.fixture(scope="session")
def judged_digits(digits: Digits, classifier: Classifier) -> Judged:
    return judged(digits, classifier, 1618)


@pytest.fixture(scope="session")
def judged_mnist(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """Trained for seconds only: right about 19 of 20 images."""
    data = MNIST(root=str(real_data), cache_dir=str(tmp_path_factory.mktemp("cache")), download=False)
    data.prepare_data()
    return judged(data, train_classifier(data, steps=80), 12_000)


@pytest.fixture(params=["digits", "mnist"])
def real(request: pytest.FixtureRequest) -> Judged:
    """scikit-learn's digits, which are always there, and MNIST where it is at hand."""
    return request.getfixturevalue(f"judged_{request.param}")
