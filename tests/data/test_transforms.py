import torch

from ncsn.data.transforms import dequantize, flip, to_unit_interval


def test_unit_interval_is_exact_at_both_ends():
    values = torch.arange(256, dtype=torch.uint8)
    unit = to_unit_interval(values)
    assert unit.dtype == torch.float32
    assert (unit[0], unit[-1]) == (0, 1)
    assert torch.equal((unit * 255).round().to(torch.uint8), values)


def test_flip_mirrors_the_chosen_images_only():
    images = torch.rand(3, 3, 4, 5)
    flipped = flip(images, torch.tensor([True, False, True]))
    assert torch.equal(flipped[1], images[1])
    assert torch.equal(flipped[::2], torch.flip(images[::2], [3]))


def test_dequantized_values_stay_in_their_interval():
    values = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    u = torch.rand(1, 1, 16, 16)
    noisy = dequantize(to_unit_interval(values), u)
    torch.testing.assert_close(noisy, to_unit_interval(values) * 255 / 256 + u / 256)
    assert noisy.max() < 1
    assert torch.equal((noisy * 256 - u).round().to(torch.uint8), values)
