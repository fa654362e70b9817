import pytest

from ncsn.data import Digits
from ncsn.evaluation import Classifier, classifier


@pytest.fixture(scope="session")
def judging(tiny: list[str]) -> Digits:
    """The digits of the tiny runs, with a classifier that was trained for two seconds instead of twenty."""
    data = Digits(root=next(given.partition("=")[2] for given in tiny if given.startswith("data.root=")))
    data.prepare_data()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "MIN_STEPS", 40)
        patch.setattr(classifier, "EPOCHS", 0)
        Classifier.for_data(data)
    return data
