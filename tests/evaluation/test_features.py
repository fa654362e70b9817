import pytest
import torch
from judged import Averages

from ncsn.errors import ConfigError
from ncsn.evaluation import extract


def test_the_features_of_an_image_do_not_depend_on_its_batch(classifier, digits):
    images = digits.images("val")
    whole = extract(classifier, [images])
    pieces = extract(classifier, images.split(7))
    assert whole.features.shape == (len(images), classifier.dimension)
    assert whole.logits.shape == (len(images), 10)
    assert whole.features.dtype == whole.logits.dtype == torch.float32
    torch.testing.assert_close(whole.features, pieces.features, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(whole.logits, pieces.logits, rtol=1e-5, atol=1e-4)
    assert len(whole) == len(images)


def test_progress_is_told_of_every_batch():
    seen = []
    extract(Averages(), torch.zeros(10, 1, 4, 4, dtype=torch.uint8).split(4), progress=seen.append)
    assert seen == [4, 4, 2]


def test_no_images_have_no_features():
    empty = extract(Averages(), [])
    assert (empty.features.shape, empty.logits.shape) == ((0, 4), (0, 2))


def test_images_must_be_uint8():
    with pytest.raises(TypeError, match=r"uint8 images, not of torch\.float32"):
        extract(Averages(), [torch.rand(2, 1, 4, 4)])


def test_precision_is_full_whatever_surrounds_it(classifier, digits):
    images = digits.images("val")[:50]
    expected = extract(classifier, [images])
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = extract(classifier, [images])
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert torch.equal(found.features, expected.features)
    assert torch.equal(found.logits, expected.logits)


def test_features_may_be_used_like_any_tensor():
    found = extract(Averages(), [torch.zeros(3, 1, 4, 4, dtype=torch.uint8)])
    found.features.add_(1).requires_grad_()


def test_training_mode_is_left_behind(classifier, digits):
    images = digits.images("val")[:50]
    expected = extract(classifier, [images])
    classifier.train()
    assert torch.equal(extract(classifier, [images]).features, expected.features)
    assert not classifier.training


def test_images_of_another_size_are_refused(classifier):
    with pytest.raises(
        ConfigError, match=r"classifier-digits takes images of 8×8×1, found 28×28×3.*features=inception"
    ):
        classifier(torch.zeros(2, 3, 28, 28, dtype=torch.uint8))
