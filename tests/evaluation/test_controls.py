"""Images whose likelihoods stand beside those of others."""

import torch

from ncsn.evaluation.controls import Changed, converted, noise, shuffled
from ncsn.evaluation.per_image import Loaded

IMAGES = torch.randint(256, (5, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_controls_are_functions_of_the_seed_and_the_images_number() -> None:
    for change in (shuffled, noise):
        whole = change(IMAGES, 0, 1)
        in_batches = Changed(Loaded(IMAGES), lambda images, first: change(images, first, 1)).batches(2)  # noqa: B023
        assert torch.equal(torch.cat(list(in_batches)), whole)
        assert not torch.equal(change(IMAGES, 0, 2), whole)
        assert not torch.equal(change(IMAGES, 1, 1), whole)


def test_shuffled_pixels_keep_their_colours() -> None:
    found = shuffled(IMAGES, 0, 0)
    assert not torch.equal(found, IMAGES)
    for before, after in zip(IMAGES.flatten(2), found.flatten(2), strict=True):
        assert sorted(before.T.tolist()) == sorted(after.T.tolist())


def test_noise_has_all_grey_levels() -> None:
    found = noise(torch.zeros(4, 1, 64, 64, dtype=torch.uint8), 0, 0)
    assert (found.dtype, len(found.unique())) == (torch.uint8, 256)
    assert abs(float(found.double().mean()) - 127.5) < 2


def test_images_are_brought_to_a_network_s_size_and_channels() -> None:
    red = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    red[:, 0] = 255
    assert converted(red, (1, 4, 4)).tolist() == torch.full((2, 1, 4, 4), 76).tolist()
    assert torch.equal(converted(converted(red, (1, 8, 8)), (3, 8, 8))[:, :1], converted(red, (1, 8, 8)))
    assert torch.equal(converted(IMAGES, (3, 4, 4)), IMAGES)
