"""Are cheaper evaluations of a network as good as fewer of them?

    python benchmarks/shortcuts.py [--ckpt builtin:mnist] [--samples 1000] [--rounds 5] [--root data]

Every variant draws as the checkpoint's sampler does. Scored is the Fréchet distance of the data set's own classifier
to the training images; timed, in turns, is a batch of 32. A U-Net's features from below its first halving may be kept
from an earlier evaluation (DeepCache, Ma et al. 2024): at every second or third, or at the end, where noise is small.
Convolutions of 8 bits are computed in float32 on rounded weights and features, which shows what rounding costs; their
time is that of PyTorch's quantised convolutions of the same shapes beside those of float32.
"""

import argparse
import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from harness import compare, device, save
from torch import Tensor, nn

from ncsn import load_score
from ncsn.config import build
from ncsn.data import ImageDataModule
from ncsn.evaluation.classifier import Classifier
from ncsn.evaluation.features import extract
from ncsn.evaluation.reference import Reference
from ncsn.evaluation.scores import compute_scores
from ncsn.images import to_uint8
from ncsn.networks import UNet
from ncsn.networks.unet_blocks import Upsample
from ncsn.sampling.drawing import draw
from ncsn.sampling.tasks import Generate

TIMED = 32


@contextmanager
def kept(network: UNet, evaluations: int, anew: Callable[[int], bool]) -> Iterator[None]:
    """What is below the first halving is computed where `anew(number of the evaluation)`, and else kept.

    Modules that are left out hand a channel on, so that the network's own `forward` fits; the last hands on its
    output of before.
    """
    bare, number, output = network.network, -1, torch.empty(0)
    halving = next(i for i, module in enumerate(bare.down) if not hasattr(module, "conv2"))
    doubling = max(i for i, module in enumerate(bare.up) if isinstance(module, Upsample))
    last = bare.up[doubling]

    def instead(module: nn.Module, forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def run(x: Tensor, *args: Tensor) -> Tensor:
            nonlocal output
            if not anew(number):
                return output if module is last else x[:, :1]
            found = forward(x, *args)
            output = found if module is last else output
            return found

        return run

    def count(*_: object) -> None:
        nonlocal number
        number = (number + 1) % evaluations

    with ExitStack() as stack:
        hook = bare.register_forward_pre_hook(count)
        stack.callback(hook.remove)
        for module in [*bare.down[halving:], *bare.middle, *bare.up[: doubling + 1]]:
            stack.enter_context(mock.patch.object(module, "forward", instead(module, module.forward)))
        yield


def inner(network: nn.Module) -> list[nn.Conv2d]:
    """The convolutions but the first and the last, which speed=fast leaves in float32 as well."""
    return [module for module in network.modules() if type(module) is nn.Conv2d]


def rounded(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """To 255 values between ±max |x| over these axes."""
    step = x.abs().amax(axes, keepdim=True).clamp(min=1e-12) / 127
    return (x / step).round() * step


@contextmanager
def of_8_bits(network: UNet) -> Iterator[None]:
    """Weights rounded for each channel, features for the whole batch."""
    before = copy.deepcopy(network.state_dict())
    with torch.no_grad(), ExitStack() as stack:
        for conv in inner(network):
            conv.weight.copy_(rounded(conv.weight, (1, 2, 3)))
            hook = conv.register_forward_pre_hook(lambda _, inputs: (rounded(inputs[0], (0, 1, 2, 3)),))
            stack.callback(hook.remove)
        yield
    network.load_state_dict(before)


def convolutions(network: UNet, run: Callable[[], object]) -> dict[str, Callable[[], object]]:
    """All inner convolutions of an evaluation, on the features that they see in `run`, in float32 and 8 bits."""
    seen: dict[nn.Conv2d, Tensor] = {}
    with ExitStack() as stack:
        for conv in inner(network):
            hook = conv.register_forward_pre_hook(lambda module, inputs: seen.update({module: inputs[0]}))
            stack.callback(hook.remove)
        run()
    torch.backends.quantized.engine = "onednn"
    quantized = []
    for conv, x in seen.items():
        scales = conv.weight.detach().abs().amax((1, 2, 3)).clamp(min=1e-12) / 127
        zeros = torch.zeros(len(scales), dtype=torch.int64)
        weight = torch.quantize_per_channel(conv.weight.detach(), scales, zeros, 0, torch.qint8)
        packed = torch.ops.quantized.conv2d_prepack(weight, conv.bias, conv.stride, conv.padding, conv.dilation, 1)
        step = float(x.abs().max()) / 127
        channels_last = x.contiguous(memory_format=torch.channels_last)
        quantized.append((torch.quantize_per_tensor(channels_last, step, 128, torch.quint8), packed, step))

    @torch.no_grad()
    def in_float32() -> None:
        for conv, x in seen.items():
            conv(x)

    def in_8_bits() -> None:
        for x, packed, step in quantized:
            torch.ops.quantized.conv2d(x, packed, step, 128)

    return {"float32": in_float32, "8 bits": in_8_bits}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt", default="builtin:mnist")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--root", type=Path, default=Path("data"))
    options = parser.parse_args()

    score = load_score(options.ckpt, device=device())
    network, sampler = score.network, build(score.config["sampler"], "sampler")
    data: ImageDataModule = build(score.config["data"] | {"root": str(options.root)}, "data")
    data.prepare_data()
    classifier = Classifier.for_data(data, device=device())
    reference = Reference.of(data, "train", classifier, options.root / "references", device=device())

    def drawn(count: int, steps: int) -> Tensor:
        task = Generate(score=score, sampler=replace(sampler, steps=steps), num_samples=count)
        return torch.cat([x for _, x in draw(task, batch_size=min(count, 250), seed=0, device=device())])

    most = sampler.steps
    variants: dict[str, tuple[int, Callable[[], Any]]] = {
        f"{most} evaluations": (most, ExitStack),
        "deep features at every second": (most, lambda: kept(network, most, lambda i: i % 2 == 0)),
        "deep features at every third": (most, lambda: kept(network, most, lambda i: i % 3 == 0)),
        "deep features of the first half": (most, lambda: kept(network, most, lambda i: i < most // 2)),
        **{f"{steps} evaluations": (steps, ExitStack) for steps in (16, 14, 12)},
        "convolutions of 8 bits": (most, lambda: of_8_bits(network)),
    }

    def timed(name: str) -> Callable[[], object]:
        def run() -> None:
            steps, how = variants[name]
            with how():
                drawn(TIMED, steps)

        return run

    times = compare({name: timed(name) for name in variants if "8 bits" not in name}, options.rounds)
    of_convolutions = compare(convolutions(network, lambda: drawn(TIMED, most)), options.rounds)
    found: dict[str, Any] = {"ckpt": options.ckpt, "samples": options.samples, "convolutions": of_convolutions}
    found["variants"] = {}
    for name, (steps, how) in variants.items():
        with how():
            images = torch.from_numpy(to_uint8(drawn(options.samples, steps))).permute(0, 3, 1, 2)
        scores = compute_scores(extract(classifier, [images], device()), reference, which=["frechet"])
        found["variants"][name] = scores | times.get(name, {})
        print(name, found["variants"][name], flush=True)
    save("shortcuts", {"rounds": options.rounds, **found}, device())


if __name__ == "__main__":
    main()
