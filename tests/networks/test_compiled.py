"""Compiled, and in bfloat16: what a network computes is the same, and nothing is compiled again while it trains."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter, CompileCounterWithBackend

from ncsn import noise
from ncsn.networks import NCSN, EnergyNCSN, NCSNv2
from ncsn.networks.blocks import (
    Between,
    CondInstanceNormPlusPlus,
    Float32Conv,
    MeanPooledConv,
    ResidualBlock,
    _formula,
    elu,
    instance_norm_plus_plus,
)
from ncsn.networks.compiled import compile_in_place, constant_weights, has_fast_bfloat16, round_weights
from ncsn.networks.refinenet import RefineNet, StageShape
from ncsn.networks.unet_blocks import GroupNorm
from ncsn.objectives import denoising_score_matching

SIGMAS = noise.geometric(num_levels=3)
COMPILE = nn.Module.compile


class Small(RefineNet):
    """One stage of NCSN and one refine block."""

    def __init__(self, num_filters: int = 4) -> None:
        norm = partial(CondInstanceNormPlusPlus, num_levels=len(SIGMAS))
        super().__init__(1, num_filters, 8, [StageShape(1)], norm, refine_norm=norm)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.run(x, Between.at(noise.position(sigma, SIGMAS)))


class Smallest(nn.Module):
    """One of each: of a whole network inductor's compilation takes minutes, most of them the C++ compiler's."""

    def __init__(self) -> None:
        super().__init__()
        norm = partial(CondInstanceNormPlusPlus, num_levels=len(SIGMAS))
        self.stem, self.head = Float32Conv(1, 4, 3, padding=1), Float32Conv(4, 1, 3, padding=1)
        self.block = ResidualBlock(4, 4, norm, downsample=True)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        h = self.block(self.stem(2 * x - 1), Between.at(noise.position(sigma, SIGMAS)))
        return self.head(elu(F.interpolate(h, x.shape[2:], mode="bilinear", align_corners=True)))


def tiny(network: Callable[..., nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return network() if network in (Small, Smallest) else network(SIGMAS, image_size=8, in_channels=1, num_filters=4)


def noisy(batch: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images and levels."""
    generator = torch.Generator().manual_seed(seed)
    sigma = SIGMAS[torch.randint(len(SIGMAS), (batch,), generator=generator)]
    x = torch.rand(batch, 1, 8, 8, generator=generator)
    return x + sigma[:, None, None, None] * torch.randn(x.shape, generator=generator), sigma


def outcome(network: nn.Module, in_bfloat16: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """Output, and the gradients of a loss that asks for all of it."""
    x, sigma = noisy()
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16):
        out = network(x, sigma)
    (sigma[:, None, None, None] * out - x).square().sum().backward()
    return out.detach(), {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def rms(x: Tensor) -> float:
    return float(x.double().square().mean().sqrt())


def error(found: Tensor, expected: Tensor) -> float:
    """Relative, in the root mean square."""
    return rms(found - expected) / rms(expected)


def flat(gradients: dict[str, Tensor]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients.values()])


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[CompileCounter]:
    """Counts what would be compiled."""
    torch.compiler.reset()
    counter = getattr(request, "param", CompileCounter)()
    monkeypatch.setattr(nn.Module, "compile", lambda self, options, **more: COMPILE(self, backend=counter, **more))
    yield counter
    torch.compiler.reset()


def without_inductor() -> CompileCounterWithBackend:
    """Traces and differentiates as inductor does, but the operations are PyTorch's own; counts, too."""
    return CompileCounterWithBackend("aot_eager")


# The forms that are compiled, as functions.


@pytest.mark.parametrize("shape", [(4, 6, 5, 7), (1, 6, 4, 4), (3, 2, 4, 4), (1, 2, 3, 2)])
def test_the_compiled_norm_is_the_norm(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    rows = [torch.randn(shape[:2], dtype=torch.float64) for _ in range(3)]
    values = [3 + torch.randn(shape, dtype=torch.float64), *rows]
    given = [value.requires_grad_() for value in values]
    weight = torch.randn(shape, dtype=torch.float64)
    found, expected = _formula(*given), instance_norm_plus_plus(*given)
    torch.testing.assert_close(found, expected)
    left, right = (torch.autograd.grad((weight * z).sum(), given) for z in (found, expected))
    torch.testing.assert_close(left, right)


def test_the_compiled_group_norm_is_the_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    norm = GroupNorm(2, 6, 1e-3).double()
    x = 3 + torch.randn(4, 6, 5, 7, dtype=torch.float64)
    x[0] *= torch.arange(1, 7)[:, None, None]  # channels of a group that differ
    given = [x.requires_grad_(), norm.weight, norm.bias]
    for value in given[1:]:
        nn.init.normal_(value)
    expected = norm(x)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    found = norm(x)
    torch.testing.assert_close(found, expected)
    weight = torch.randn_like(found)
    left, right = (torch.autograd.grad((weight * z).sum(), given) for z in (found, expected))
    torch.testing.assert_close(left, right)


def test_the_compiled_norm_of_a_flat_channel_is_finite() -> None:
    x = torch.ones(2, 2, 4, 4, requires_grad=True)
    ones = torch.ones(2, 2)
    z = _formula(x, ones, ones, ones)
    (gradient,) = torch.autograd.grad(z.sum(), x)
    torch.testing.assert_close(z, torch.ones_like(z))
    assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_compiled_elu_is_elu(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    values = [-1000.0, -20.0, -1.0, -1e-3, -1e-20, 0.0, 1e-20, 1e-3, 1.0, 20.0, 1000.0]
    x = torch.tensor(values, dtype=dtype, requires_grad=True)
    expected = F.elu(x)
    (right,) = torch.autograd.grad(expected.sum(), x)
    with monkeypatch.context() as patch:
        patch.setattr(torch.compiler, "is_compiling", lambda: True)
        found = elu(x)
        (left,) = torch.autograd.grad(found.sum(), x)
    assert found.dtype == dtype
    eps = torch.finfo(dtype).eps  # exp(x) − 1 is as exact as 1 is
    torch.testing.assert_close(found, expected, rtol=eps, atol=eps)
    assert left.isfinite().all()
    torch.testing.assert_close(left, right, rtol=2 * eps, atol=2 * eps)


def test_the_forms_that_are_compiled_are_not_taken_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ncsn.networks.blocks._formula", None)
    x, sigma = noisy()
    assert tiny(Small)(x, sigma).isfinite().all()


# Whole networks.


@pytest.mark.slow
@pytest.mark.parametrize("network", [NCSN, NCSNv2])
def test_a_whole_network_is_compiled_in_one_piece(network: type[nn.Module], counter: CompileCounter) -> None:
    assert_same_in_float32(tiny(network), counter)


@pytest.mark.slow
@pytest.mark.parametrize("counter", [without_inductor], indirect=True, ids=["aot_eager"])
def test_a_compiled_network_computes_what_it_is_and_is_compiled_once(counter: CompileCounterWithBackend) -> None:
    eager = tiny(Small)
    compiled, out = assert_same_in_float32(eager, counter)

    # Measured: 1.2 % to 1.5 % of the output, the one as the other; 2⁻⁸ = 0.4 % is what rounds every value.
    rounded, found = (outcome(n, in_bfloat16=True)[0] for n in (eager, compiled))
    assert found.dtype == torch.float32
    assert 1e-3 < error(rounded, out) < 0.03
    assert 1e-3 < error(found, out) < 0.03
    assert error(found, rounded) < 0.04

    assert counter.frame_count == 2
    assert counts_in_training(compiled, counter) == [2, 2, 2, 2]


def assert_same_in_float32(eager: nn.Module, counter: CompileCounter) -> tuple[nn.Module, Tensor]:
    """Gives the network compiled, and its output."""
    compiled = deepcopy(eager)
    compile_in_place(compiled)
    torch.testing.assert_close(dict(compiled.state_dict()), dict(eager.state_dict()), rtol=0, atol=0)
    out, gradients = outcome(eager, in_bfloat16=False)
    found, found_gradients = outcome(compiled, in_bfloat16=False)
    assert counter.frame_count == 1
    torch.testing.assert_close(found, out, rtol=1e-5, atol=1e-5 * rms(out))
    assert gradients.keys() == found_gradients.keys() == dict(eager.named_parameters()).keys()
    assert error(flat(found_gradients), flat(gradients)) < 1e-5
    return compiled, out


@pytest.fixture(scope="module")
def by_inductor() -> Iterator[tuple[nn.Module, nn.Module]]:
    """The smallest network and its twin, compiled; compiling takes a minute, so that tests share it."""
    torch.compiler.reset()
    eager = tiny(Smallest)
    compiled = deepcopy(eager)
    compile_in_place(compiled)
    yield eager, compiled
    torch.compiler.reset()


WHERE_FAST = pytest.mark.skipif(not has_fast_bfloat16("cpu"), reason="speed=fast stays in float32 on this machine")


@pytest.mark.slow
@pytest.mark.parametrize("in_bfloat16", [False, pytest.param(True, marks=WHERE_FAST)])
def test_inductor_computes_the_same(in_bfloat16: bool, by_inductor: tuple[nn.Module, nn.Module]) -> None:
    eager, compiled = by_inductor
    out, gradients = outcome(eager, in_bfloat16=False)
    found, found_gradients = outcome(compiled, in_bfloat16)
    bound = 0.03 if in_bfloat16 else 1e-5
    assert found.dtype == torch.float32
    assert error(found, out) < bound
    assert error(flat(found_gradients), flat(gradients)) < bound


@pytest.mark.slow
def test_weights_are_constants_only_where_that_is_said(by_inductor: tuple[nn.Module, nn.Module]) -> None:
    eager, network = by_inductor
    given = noisy()

    def sampled() -> Tensor:
        with constant_weights(torch.device("cpu")), torch.no_grad():
            return network(*given)

    def expected() -> Tensor:
        other = Smallest()
        other.load_state_dict(network.state_dict())
        return other(*given).detach()

    torch.testing.assert_close(sampled(), expected(), rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        for p in network.parameters():
            p.mul_(1.5)
    assert error(sampled(), expected()) > 0.01  # those that were laid out anew are what they were
    torch.testing.assert_close(network(*given).detach(), expected(), rtol=1e-5, atol=1e-6)
    network.load_state_dict(eager.state_dict())


def test_a_compiled_network_can_be_copied_saved_and_loaded(counter: CompileCounter) -> None:
    network = tiny(Small)
    expected = deepcopy(network.state_dict())
    compile_in_place(network)
    assert list(network.state_dict()) == list(expected)
    torch.testing.assert_close(dict(network.state_dict()), dict(expected), rtol=0, atol=0)
    other = Small()
    other.load_state_dict(network.state_dict())
    x, sigma = noisy()
    torch.testing.assert_close(other(x, sigma), network(x, sigma))
    torch.testing.assert_close(deepcopy(network)(x, sigma), other(x, sigma))


def counts_in_training(compiled: nn.Module, counter: CompileCounter) -> list[int]:
    """How much has been compiled after each of four steps of training in bfloat16."""
    optimizer = torch.optim.Adam(compiled.parameters(), lr=1e-3, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    counts = []
    for step in range(4):
        x, sigma = noisy(seed=step)
        with torch.autocast("cpu", torch.bfloat16):
            loss = denoising_score_matching(compiled, x, sigma).mean()
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in compiled.parameters() if p.dim() > 1)
        optimizer.step()
        schedule.step()
        counts.append(counter.frame_count)
    return counts


def test_training_validation_and_pictures_compile_once_each(counter: CompileCounter) -> None:
    compiled = tiny(Small)
    compile_in_place(compiled)
    assert counts_in_training(compiled, counter) == [1, 1, 1, 1]
    for _ in range(3):
        with torch.autocast("cpu", torch.bfloat16):
            compiled.train()(*noisy())
            with torch.no_grad():
                compiled.eval()(*noisy())
                compiled(*noisy(5))
    assert counter.frame_count == 3


def test_networks_of_one_process_do_not_use_up_what_may_be_compiled(counter: CompileCounter) -> None:
    """A sweep's jobs, for instance; what limits them is the same for the least of networks."""
    for i in range(9):
        network = nn.Conv2d(1, 2 + i, 3)
        compile_in_place(network)
        network(noisy()[0])
        assert counter.frame_count == i + 1


def test_the_score_of_an_energy_is_not_compiled() -> None:
    network = EnergyNCSN(SIGMAS, image_size=8, in_channels=1, num_filters=2)
    with pytest.raises(ValueError, match="compile=false"):
        compile_in_place(network)


# bfloat16.


def seen_by(network: nn.Module, kinds: tuple[type, ...]) -> dict[str, tuple[Tensor, Tensor]]:
    """What modules of these kinds are given and put out, under autocast."""
    seen = {}

    def look(name: str, _: nn.Module, inputs: Any, output: Tensor) -> None:
        seen[name] = (inputs[0].detach(), output.detach())

    hooks = [
        module.register_forward_hook(partial(look, name))
        for name, module in network.named_modules()
        if isinstance(module, kinds)
    ]
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        network(*noisy())
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("network", [NCSN, NCSNv2])
def test_what_is_seen_and_what_is_put_out_stay_in_float32(network: type[nn.Module]) -> None:
    net = tiny(network)
    seen = seen_by(net, (nn.Conv2d,))
    for name, (given, result) in seen.items():
        if name in ("stem", "head"):
            assert (given.dtype, result.dtype) == (torch.float32, torch.float32)
            conv = net.get_submodule(name)
            torch.testing.assert_close(result, F.conv2d(given, conv.weight, conv.bias, padding=1))
        else:
            assert result.dtype == torch.bfloat16
    assert {"stem", "head"} < seen.keys()


def test_the_stem_sees_less_than_bfloat16_tells_apart() -> None:
    stem = tiny(NCSN).stem
    x = torch.full((1, 1, 8, 8), 0.9)
    assert torch.equal((2 * x - 1).bfloat16(), (2 * (x + 0.001) - 1).bfloat16())
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        change = stem(2 * (x + 0.001) - 1) - stem(2 * x - 1)
        expected = F.conv2d(torch.full((1, 1, 8, 8), 0.002, dtype=torch.float64), stem.weight.double(), padding=1)
    assert change.dtype == torch.float32
    torch.testing.assert_close(change.double(), expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("form", [instance_norm_plus_plus, _formula])
def test_statistics_and_result_of_the_norm_are_float32(form: Callable[..., Tensor]) -> None:
    """Of features whose mean is far from 0, where bfloat16 would leave nothing of their variation."""
    torch.manual_seed(0)
    x = (8 + 0.5 * torch.randn(2, 4, 16, 16)).bfloat16()
    rows = [torch.randn(2, 4) for _ in range(3)]
    with torch.autocast("cpu", torch.bfloat16):
        found = form(x, *rows)
    assert found.dtype == torch.float32
    expected = instance_norm_plus_plus(x.double(), *(row.double() for row in rows))
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


def test_no_norm_puts_out_bfloat16() -> None:
    seen = seen_by(tiny(NCSN), (CondInstanceNormPlusPlus,))
    assert {result.dtype for _, result in seen.values()} == {torch.float32}
    assert {given.dtype for given, _ in seen.values()} == {torch.float32, torch.bfloat16}


@pytest.mark.parametrize("network", [NCSN, NCSNv2])
def test_rounded_weights_change_nothing_under_autocast(network: type[nn.Module]) -> None:
    net = tiny(network)
    x, sigma = noisy()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        expected = net(x, sigma)
        round_weights(net)
        torch.testing.assert_close(net(x, sigma), expected, rtol=0, atol=0)


@pytest.mark.parametrize("network", [NCSN, NCSNv2])
def test_only_convolutions_in_between_are_rounded(network: type[nn.Module]) -> None:
    net = tiny(network)
    before = deepcopy(net.state_dict())
    round_weights(net)
    rounded = {id(p) for m in net.modules() if isinstance(m, nn.Conv2d) for p in m.parameters()
               if not isinstance(m, Float32Conv | MeanPooledConv)}  # fmt: skip
    assert rounded
    for name, p in net.named_parameters():
        assert p.dtype == (torch.bfloat16 if id(p) in rounded else torch.float32)
        if id(p) not in rounded:
            torch.testing.assert_close(p.detach(), before[name], rtol=0, atol=0)


AVX512 = {"avx512_bf16": True, "amx_bf16": False}


@pytest.mark.parametrize(("found", "fast"), [
    ({"avx2": True, "avx512_bf16": False}, False),
    (AVX512, True),
    (AVX512 | {"cpu_name": "AMD EPYC"}, True),
    (AVX512 | {"cpu_name": "Intel Xeon"}, False),
    (AVX512 | {"cpu_name": "Intel Xeon", "amx_bf16": True}, True),
    (None, False),
])  # fmt: skip
def test_bfloat16_is_fast_where_there_are_instructions_that_gain_by_it(
    found: dict[str, object] | None, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True, raising=False)
    if found is None:  # an early version of PyTorch does not say
        monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    else:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert has_fast_bfloat16("cpu") is fast
    assert not has_fast_bfloat16("mps")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not has_fast_bfloat16("cpu")
