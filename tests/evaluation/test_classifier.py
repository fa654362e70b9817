import numpy as np
import pytest
import torch

from ncsn.data import ImageFolder
from ncsn.errors import ConfigError, DataError
from ncsn.evaluation import Classifier, extract, train_classifier
from ncsn.evaluation import classifier as module
from ncsn.evaluation.classifier import _augment
from ncsn.images import save_png
from ncsn.random import Draws


def accuracy(network, images, labels):
    return (extract(network, images.split(500)).logits.argmax(dim=1) == labels).double().mean().item()


def test_it_knows_digits(classifier, digits):
    found = accuracy(classifier, digits.images("val"), digits.labels("val"))
    assert found >= 0.97
    assert classifier.describe() == {
        "name": "classifier-digits",
        "checksum": classifier.checksum,
        "data": "digits",
        "image_size": 8,
        "channels": 1,
        "num_classes": 10,
        "accuracy": found,
        "held_out": 179,
        "seed": 0,
        "steps": 300,
    }


def test_it_knows_mnist_after_80_steps(judged_mnist):
    held_out = slice(6_000, None)
    assert accuracy(judged_mnist.network, judged_mnist.images[held_out], judged_mnist.labels[held_out]) > 0.93


def test_it_is_trained_once(classifier, digits, monkeypatch):
    monkeypatch.setattr(module, "train_classifier", lambda *_, **__: pytest.fail("trained again"))
    again = Classifier.for_data(digits)
    assert again.checksum == classifier.checksum
    assert again.describe() == classifier.describe()
    assert torch.equal(
        extract(again, [digits.images("val")]).features, extract(classifier, [digits.images("val")]).features
    )


def test_the_same_seed_gives_the_same_network_and_leaves_global_randomness_alone(digits):
    state = torch.get_rng_state()
    first = train_classifier(digits, steps=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(123)
    assert train_classifier(digits, steps=3).checksum == first.checksum
    assert train_classifier(digits, steps=3, seed=1).checksum != first.checksum


def test_the_checksum_sees_a_single_weight(digits):
    network = Classifier("digits", 8, 1, 10)
    before = network.checksum
    with torch.no_grad():
        network.head.bias[3] += 1e-6
    assert network.checksum != before


def test_shifts_are_whole_pixels_of_the_images_and_repeat_the_edge():
    images = torch.arange(2 * 28 * 28).remainder(251).byte().reshape(1, 2, 28, 28).expand(400, -1, -1, -1)
    padded = np.pad(images[0].numpy(), ((0, 0), (2, 2), (2, 2)), mode="edge")
    possible = {padded[:, y : y + 28, x : x + 28].tobytes(): (y, x) for y in range(5) for x in range(5)}
    shifted = _augment(images, Draws(0), mirror=False)
    found = {possible[image.numpy().tobytes()] for image in shifted}
    assert len(found) == 25


def test_half_of_the_images_are_mirrored_where_the_data_set_allows_it():
    images = torch.zeros(400, 1, 8, 8, dtype=torch.uint8)
    images[..., 5:] = 255
    mirrored = (_augment(images, Draws(0), mirror=True)[:, 0, 0, 0] == 255).sum()
    assert 150 < mirrored < 250
    assert not (_augment(images, Draws(0), mirror=False)[:, 0, 0, 0] == 255).any()


def test_a_data_set_without_labels_is_refused_with_the_way_out(tmp_path):
    for i in range(4):
        save_png(np.full((8, 8, 3), i, np.uint8), tmp_path / f"{i}.png")
    data = ImageFolder(root=str(tmp_path), image_size=8)
    data.prepare_data()
    with pytest.raises(ConfigError, match=r"^features=classifier: data=image_folder has no labels.*=inception"):
        Classifier.for_data(data)
    assert not (tmp_path / "classifiers").exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_a_damaged_file_is_named(digits, classifier, tmp_path, content):
    path = tmp_path / "digits-8px-1ch-v1.pt"
    classifier.save(path)
    path.write_bytes(path.read_bytes()[:1000] if content is None else content)
    with pytest.raises(DataError, match=r"digits-8px-1ch-v1\.pt: expected a classifier.*delete it"):
        Classifier.for_data(digits, tmp_path)


def test_the_classifier_of_other_data_is_not_taken_for_this_ones(digits, tmp_path):
    Classifier("mnist", 28, 1, 10).save(tmp_path / "digits-8px-1ch-v1.pt")
    with pytest.raises(DataError, match=r"expected a classifier of .*'digits'.*found one of .*'mnist'"):
        Classifier.for_data(digits, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda saved: saved["record"].update(num_classes=10**9), "has the shape"),
        (lambda saved: saved["record"].update(image_size="x"), "not supported between"),
        (lambda saved: saved["record"].update(accuracy="${oc.env:HOME}"), "is an interpolation"),
        (lambda saved: saved["state"].popitem(), "it lacks head.bias"),
        (lambda saved: saved.update(state=[1]), "no plain tensors"),
        (lambda saved: saved.update(state=print), r"it names \w+\.print"),
    ],
)
def test_a_classifier_of_somebody_else_is_read_with_care(change, message, tmp_path):
    Classifier("digits", 8, 1, 10).save(tmp_path / "a.pt")
    saved = torch.load(tmp_path / "a.pt", weights_only=True)
    change(saved)
    torch.save(saved, tmp_path / "a.pt")
    with pytest.raises(DataError, match=rf"a\.pt: expected a classifier.*{message}"):
        Classifier.load(tmp_path / "a.pt")
