"""The U-Net: its sizes, what it starts from, and what does not change what it computes."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ncsn import noise, objectives
from ncsn.networks import UNet
from ncsn.networks.compiled import compile_in_place, round_weights
from ncsn.networks.unet import SelfAttention, groups_for

SIGMAS = noise.geometric(num_levels=3)
SMALL: dict[str, Any] = {"image_size": 8, "num_filters": 8, "multipliers": [1, 2], "attention_resolutions": [4]}


def small(*, trained: bool = True, **options: Any) -> UNet:
    """As if trained, with no weight at zero."""
    torch.manual_seed(0)
    net = UNet(SIGMAS, **(SMALL | options))
    for p in net.parameters() if trained else ():
        nn.init.normal_(p, std=0.2) if p.dim() > 1 else nn.init.normal_(p, 0.5, 0.2)
    return net


def noisy(channels: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, channels, 8, 8, generator=generator), torch.tensor([1.0, 0.03])


def gradients(net: UNet, objective: Any = objectives.denoising_score_matching) -> dict[str, Tensor]:
    net.zero_grad()
    generator = torch.Generator().manual_seed(2)
    objective(net, *noisy(), normal=lambda x: torch.randn(x.shape, generator=generator)).mean().backward()
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("image_size", "multipliers", "options", "parameters"),
    [
        (32, (1, 2, 2, 2), {}, 35_746_307),
        (256, (1, 1, 2, 2, 4, 4), {}, 113_673_219),
        (32, (2, 2, 2), {"num_blocks": 4, "blocks": "ddpm++", "num_augmentation_labels": 9}, 55_733_891),
    ],
)
def test_has_the_published_number_of_parameters(
    image_size: int, multipliers: Sequence[int], options: dict[str, Any], parameters: int
) -> None:
    with torch.device("meta"):
        net = UNet(SIGMAS, image_size=image_size, multipliers=multipliers, **options)
    assert sum(p.numel() for p in net.parameters()) == parameters


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"in_channels": 1, "num_blocks": 1, "multipliers": [2], "attention_resolutions": []},
        {"head_dim": 4},
        {"image_size": 12, "multipliers": [1, 3, 2], "attention_resolutions": [12, 3], "num_filters": 20},
    ],
)
def test_any_shape(options: dict[str, Any]) -> None:
    net = small(**options)
    size, channels = (SMALL | options)["image_size"], options.get("in_channels", 3)
    x = torch.rand(2, channels, size, size)
    assert net(x, torch.tensor([1.0, 0.1])).shape == x.shape
    held = [m for m in net.modules() if isinstance(m, SelfAttention)]
    blocks = (SMALL | options).get("num_blocks", 2)
    assert len(held) == 1 + len((SMALL | options)["attention_resolutions"]) * (2 * blocks + 1)


@pytest.mark.parametrize(("form", "per_value"), [("ddpm", (0.97, 1.03)), ("edm", (0.6, 0.8)), ("v", (0.6, 0.8))])
def test_a_loss_of_half_a_value_at_first_and_not_above(form: Any, per_value: tuple[float, float]) -> None:
    """σs + z = z where nothing is estimated; less where D is, at large σ, nearer to the data than the noise is."""
    net = small(trained=False, form=form)
    generator = torch.Generator().manual_seed(0)
    sigma = noise.geometric()[torch.randint(10, (256,), generator=generator)]
    x = torch.rand(256, 3, 8, 8, generator=generator)
    draw = lambda x: torch.randn(x.shape, generator=generator)  # noqa: E731
    with torch.no_grad():
        loss = objectives.denoising_score_matching(net, x, sigma, normal=draw).mean()
    assert per_value[0] < float(loss) / (x[0].numel() / 2) < per_value[1]


def test_a_label_changes_the_score_of_its_image_and_nothing_else() -> None:
    with torch.no_grad():
        plain, net, (x, sigma) = small(), small(num_classes=3), noisy()
        assert set(net.state_dict()) - set(plain.state_dict()) == {"network.classes.weight"}
        of = {label: net(x, sigma, label=torch.tensor([1, label])) for label in (0, 1, 3)}
        for label in (0, 3):
            torch.testing.assert_close(of[label][0], of[1][0])
            assert not torch.allclose(of[label][1], of[1][1])
        torch.testing.assert_close(net(x, sigma)[1], of[3][1])  # without a label, 3: no class
        with pytest.raises(ValueError, match="label: this network has no classes"):
            plain(x, sigma, label=torch.tensor([0, 1]))


def test_augmentation_changes_the_score_of_its_image_and_zeros_are_none() -> None:
    with torch.no_grad():
        plain, net, (x, sigma) = small(), small(num_augmentation_labels=9), noisy()
        assert set(net.state_dict()) - set(plain.state_dict()) == {"network.embedding.labels.weight"}
        told = torch.zeros(2, 9)
        assert torch.equal(net(x, sigma, augmentation=told), net(x, sigma))
        net.load_state_dict(plain.state_dict(), strict=False)
        assert torch.equal(net(x, sigma), plain(x, sigma))
        told[1, 8] = 1
        found = net(x, sigma, augmentation=told)
        torch.testing.assert_close(found[0], net(x, sigma)[0])
        assert not torch.allclose(found[1], net(x, sigma)[1])
        with pytest.raises(ValueError, match=r"augmentation: this network is not told of it"):
            plain(x, sigma, augmentation=told)


def test_a_damaged_image_is_seen_at_every_level_and_required() -> None:
    with torch.no_grad():
        plain, net, (x, sigma) = small(), small(condition_channels=3), noisy()
        assert net.state_dict().keys() == plain.state_dict().keys()
        assert net.network.stem.weight.shape[1] == 6
        damaged = torch.rand(2, 3, 8, 8)
        found = net(x, sigma, damaged=damaged)
        other = net(x, sigma, damaged=torch.stack([damaged[0], 1 - damaged[1]]))
        torch.testing.assert_close(other[0], found[0])
        assert not torch.allclose(other[1], found[1])
        # Beside x its pixels are those of 2·damaged − 1 at every σ.
        seen = net.network.stem.weight[:, 3:].clone()
        net.network.stem.weight[:, 3:] = 0
        blind = net(x, sigma, damaged=damaged)
        net.network.stem.weight[:, 3:] = seen
        torch.testing.assert_close(net(x, sigma, damaged=torch.full_like(x, 0.5)), blind)
        with pytest.raises(ValueError, match=r"damaged: this network restores images, .* damaged=…"):
            net(x, sigma)
        with pytest.raises(ValueError, match="damaged: this network is given no image"):
            plain(x, sigma, damaged=damaged)
    with pytest.raises(ValueError, match="condition_channels=0: must be at least 1"):
        small(condition_channels=0)


def test_all_of_it_is_learned() -> None:
    found = gradients(small())
    assert found.keys() == dict(small().named_parameters()).keys()
    assert all(gradient.abs().sum() > 0 for gradient in found.values())


@pytest.mark.parametrize("options", [{}, {"dropout": 0.5, "num_classes": 3}, {"blocks": "ddpm++"}], ids=str)
def test_checkpointing_does_not_change_gradients(options: dict[str, Any]) -> None:
    found = []
    for checkpointing in (False, True):
        net = small(checkpointing=checkpointing, **options)
        torch.manual_seed(3)
        found.append(gradients(net))
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize("objective", [objectives.SlicedScoreMatching(), objectives.exact_score_matching])
def test_attention_can_be_differentiated_twice(objective: Any) -> None:
    net = small(num_blocks=1).double()
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(1, 3, 8, 8, generator=generator, dtype=torch.float64)
    loss = objective(net, x, torch.tensor([0.5], dtype=torch.float64), normal=torch.ones_like).sum()
    loss.backward()
    found = {n: float(p.grad.norm()) for n, p in net.named_parameters() if p.grad is not None}
    assert all(found[name] > 0 for name in found if "qkv.weight" in name)


def test_ddpm_plus_plus_rescales_its_sums_and_resamples_within_them() -> None:
    """Where a branch ends in zero, a block is its shortcut over √2."""
    net = small(blocks="ddpm++", num_blocks=1).network
    halves, h, embedding = net.down[1], torch.randn(2, 8, 8, 8), torch.randn(2, 32)
    nn.init.zeros_(halves.conv2.weight)
    nn.init.zeros_(halves.conv2.bias)
    means = h.unflatten(3, (4, 2)).unflatten(2, (4, 2)).mean(dim=(3, 5))
    torch.testing.assert_close(halves(h, embedding), halves.shortcut(means) / 2**0.5)
    doubles = next(module for module in net.up if module.resample == "up")
    nn.init.zeros_(doubles.conv2.weight)
    nn.init.zeros_(doubles.conv2.bias)
    h = torch.randn(2, 16, 4, 4)
    fourfold = h.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(doubles(h, embedding), doubles.shortcut(fourfold) / 2**0.5)
    attentions = [module.attention is not None for module in net.up]
    assert attentions == [False, True, False, False, False]  # at 4 pixels after the last block, at 8 never
    attention = net.middle[0].attention
    nn.init.zeros_(attention.out.weight)
    nn.init.zeros_(attention.out.bias)
    torch.testing.assert_close(attention(h), h / 2**0.5)


def test_dropout_drops_in_training_only() -> None:
    net, (x, sigma) = small(dropout=0.5), noisy()
    with torch.no_grad():
        torch.testing.assert_close(net.eval()(x, sigma), net(x, sigma), rtol=0, atol=0)
        assert not torch.allclose(net.train()(x, sigma), net(x, sigma))


def test_channels_last_bfloat16_and_rounded_weights() -> None:
    net, (x, sigma) = small(), noisy()
    with torch.no_grad():
        expected = net(x, sigma)
        net.to(memory_format=torch.channels_last)
        kept = []
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(lambda m, i, out: kept.append(out))
        found = net(x, sigma)
        assert kept
        assert all(out.is_contiguous(memory_format=torch.channels_last) for out in kept)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
        with torch.autocast("cpu", torch.bfloat16):
            rounded = net(x, sigma)
            round_weights(net)
            torch.testing.assert_close(net(x, sigma), rounded, rtol=0, atol=0)
    assert rounded.dtype == torch.float32
    error = (rounded - expected).square().mean().sqrt() / expected.square().mean().sqrt()
    assert 1e-4 < error < 0.05


def test_compiled_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced as with speed=fast; inductor itself takes minutes."""
    compile_ = nn.Module.compile
    torch.compiler.reset()
    monkeypatch.setattr(nn.Module, "compile", lambda self, **_: compile_(self, backend="eager", fullgraph=True))
    net = small(num_blocks=1, form="ddpm", num_classes=3, num_augmentation_labels=9)
    compiled = deepcopy(net)
    compile_in_place(compiled)
    for given in ({"label": torch.tensor([2, 0]), "augmentation": torch.rand(2, 9)}, {}):
        torch.testing.assert_close(compiled(*noisy(), **given), net(*noisy(), **given), rtol=1e-4, atol=1e-3)
    torch.compiler.reset()


def test_at_least_four_channels_make_a_group() -> None:
    widths = (4, 6, 20, 64, 96, 128, 130, 256)
    assert [groups_for(n) for n in widths] == [1, 1, 5, 16, 24, 32, 26, 32]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 30, "multipliers": [1, 2, 2]}, r"image_size=30: must be a multiple of 4"),
        ({"in_channels": 0}, "in_channels=0"),
        ({"num_filters": 7}, "num_filters=7: must be even"),
        ({"multipliers": []}, r"multipliers=\[\]"),
        ({"num_blocks": 0}, "num_blocks=0"),
        ({"num_blocks": 10**9}, "num_blocks=1000000000: must be from 1 to 64"),
        ({"head_dim": 5}, "head_dim=5: must divide the 16 channels"),
        ({"norm_eps": 0.0}, "norm_eps=0.0: must lie between 0 and 1"),
        ({"norm_eps": 1.0}, "norm_eps=1.0: must lie between 0 and 1"),
        ({"residual": -1.0}, "residual=-1.0: must be at least 0, and finite"),
        ({"frequency_shift": 4}, "frequency_shift=4: must be 0 or 1"),
        ({"attention_resolutions": [16]}, r"attention_resolutions=\[16\]: the network has features of 8, 4 pixels"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"num_groups": 3}, "num_groups=3: must divide num_filters=8"),
        ({"num_classes": 0}, "num_classes=0: must be at least 1"),
        (
            {"num_augmentation_labels": 0},
            "num_augmentation_labels=0: must be at least 1, or null for a network without",
        ),
        ({"form": "x0"}, "form=x0: must be edm, ddpm, v"),
        ({"blocks": "adm"}, r"blocks=adm: must be ddpm or ddpm\+\+"),
    ],
)
def test_refuses_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UNet(SIGMAS, **(SMALL | options))
