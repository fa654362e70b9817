"""The checkpoints that the paper's authors released: what their shapes say, their names of parameters and ours, and
the published experiments they come from.

authors' release          ours
begin_conv, end_conv      stem, head
normalizer                head_norm
res2.0.normalize1         stages.1.0.norm1
res31, refine31           stages.3, refine.2        (of the deepest network alone, where later stages move up by one)
refine2.adapt_convs.1     refine.1.adapt.1
  .1_2_conv, .1_2_norm      .convs.1, .norms.1        (unit 1, convolution 2 → the second of the chain)
refine2.msf, crp          refine.1.fuse, pool
refine4.output_convs      refine.3.output
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from ncsn.networks.ncsnv2 import Depth
from ncsn.noise import MOST_LEVELS

Architecture = Literal["NCSN", "NCSNv2"]


@dataclass(frozen=True, kw_only=True)
class Published:
    """Settings of a published experiment, with what a checkpoint of it does not hold.

    Attributes:
        name: as `experiment=` knows it.
        architecture: of the network.
        depth: of NCSNv2.
        num_filters, num_levels: F and L.
        sigma_max: σ₁; σ_L is `sigma_min`.
        steps_per_level: T.
        step_lr: ε as the released code has it, half of what the paper writes.
        denoise: whether the denoising step ends the sampling.
        data: the data set, as a configuration's `data`.
    """

    name: str
    architecture: Architecture
    depth: Depth | None = None
    num_filters: int = 128
    num_levels: int
    sigma_max: float
    sigma_min: float = 0.01
    steps_per_level: int
    step_lr: float
    denoise: bool
    data: dict[str, Any]


def _ncsn(name: str, data: dict[str, Any], num_filters: int = 128) -> Published:
    """Song & Ermon 2019, Sec. 5 and App. A and B."""
    return Published(
        name=name,
        architecture="NCSN",
        num_filters=num_filters,
        num_levels=10,
        sigma_max=1.0,
        steps_per_level=100,
        step_lr=2e-5,
        denoise=False,
        data=data | {"dequantize": True},
    )


def _ncsnv2(name: str, depth: Depth, data: dict[str, Any], sigma_max: float, L: int, T: int, eps: float) -> Published:
    """Song & Ermon 2020, App. B, and the configurations of the released code."""
    return Published(
        name=f"ncsnv2_{name}",
        architecture="NCSNv2",
        depth=depth,
        num_levels=L,
        sigma_max=sigma_max,
        steps_per_level=T,
        step_lr=eps,
        denoise=True,
        data=data | {"flip": True},
    )


def _images(target: str, name: str, image_size: int, channels: int = 3, **more: Any) -> dict[str, Any]:
    target = f"ncsn.data.{target}"
    return {"_target_": target, "name": name, "root": "data", "image_size": image_size, "channels": channels, **more}


_CIFAR10 = _images("CIFAR10", "cifar10", 32)
_CHURCH = _images("LSUN", "lsun_church", 96, category="church_outdoor")
_BEDROOM = _images("LSUN", "lsun_bedroom", 128, category="bedroom")
_TOWER = _images("LSUN", "lsun_tower", 128, category="tower")

PUBLISHED: dict[str, Published] = {
    p.name: p
    for p in (
        _ncsn("mnist", _images("MNIST", "mnist", 28, channels=1), num_filters=64),
        _ncsn("cifar10", _CIFAR10 | {"flip": True}),
        _ncsn("celeba", _images("CelebA", "celeba", 32, flip=True)),
        _ncsnv2("cifar10", "standard", _CIFAR10, 50.0, L=232, T=5, eps=6.2e-6),
        _ncsnv2("celeba64", "standard", _images("CelebA", "celeba", 64), 90.0, L=500, T=5, eps=3.3e-6),
        _ncsnv2("lsun_church", "deeper", _CHURCH, 140.0, L=788, T=4, eps=4.9e-6),
        _ncsnv2("lsun_bedroom", "deeper", _BEDROOM, 190.0, L=1086, T=3, eps=1.8e-6),
        _ncsnv2("lsun_tower", "deeper", _TOWER, 190.0, L=1086, T=3, eps=1.8e-6),
        _ncsnv2("ffhq256", "deepest", _images("FFHQ", "ffhq256", 256), 348.0, L=2311, T=3, eps=9e-7),
    )
}


@dataclass(frozen=True)
class Shapes:
    """What the names and shapes of a model state say about its network.

    Attributes:
        architecture, depth: which network it is.
        in_channels: C of its images.
        num_filters: F.
        num_levels: L, None where neither an embedding nor a buffer of σ tells.
    """

    architecture: Architecture
    depth: Depth | None
    in_channels: int
    num_filters: int
    num_levels: int | None

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> "Shapes":
        """Reads them off a state in the authors' format, with or without the prefix `module.`.

        Raises:
            ValueError: it is the state of no network that they released.
        """
        shapes = {name.removeprefix("module."): tuple(value.shape) for name, value in state.items()}

        def shape(name: str, axes: int) -> tuple[int, ...]:
            if name not in shapes:
                raise ValueError(f"it lacks {name}")
            if len(shapes[name]) != axes:
                raise ValueError(f"{name} has the shape {shapes[name]}: must have {axes} axes")
            return shapes[name]

        filters, channels, _, _ = shape("begin_conv.weight", 4)
        levels = [shape(*one)[0] for one in (("normalizer.embed.weight", 2), ("sigmas", 1)) if one[0] in shapes]
        if not all(0 < number <= MOST_LEVELS for number in levels):
            raise ValueError(f"it has no noise levels, or over {MOST_LEVELS}")
        conditional = any(".embed." in name for name in shapes)
        deeper, deepest = (any(name.startswith(f"{stage}.") for name in shapes) for stage in ("res5", "res31"))
        if conditional:
            if deeper:
                raise ValueError("it is an NCSN with more than four stages, of which no experiment was published")
            shape("normalizer.embed.weight", 2)
            return cls("NCSN", None, channels, filters, levels[0])
        if "normalizer.alpha" not in shapes:
            raise ValueError("its head has no InstanceNorm++, neither that of NCSN nor that of NCSNv2")
        depth: Depth = "deepest" if deepest else "deeper" if deeper else "standard"
        return cls("NCSNv2", depth, channels, filters, levels[0] if levels else None)


_STAGES = ("1", "2", "3", "31", "4", "5")  # in the order in which the networks have them
_REFINE = ("1", "2", "31", "3", "4", "5")

_RENAMES: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (r"^begin_conv\.", "stem."),
    (r"^end_conv\.", "head."),
    (r"^normalizer\.", "head_norm."),
    (r"\.normalize(\d)\.", r".norm\1."),
    (r"\.(conv2|shortcut)\.conv\.", r".\1."),
    (r"\.adapt_convs\.", ".adapt."),
    (r"\.output_convs\.", ".output."),
    (r"\.msf\.", ".fuse."),
    (r"\.crp\.", ".pool."),
    (r"\.(\d)_(\d)_(conv|norm)\.", lambda m: f".{m[3]}s.{2 * int(m[1]) + int(m[2]) - 3}."),
]


def rename_authors_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A model state of the authors' format under this project's names, ready for `load_state_dict`.

    The prefix `module.` and the buffer `sigmas` go.
    """
    theirs = {name.removeprefix("module."): value for name, value in state.items()}
    theirs.pop("sigmas", None)
    numbers = {
        f"{part}{their}.": f"{ours}.{number}."
        for part, ours, order in (("res", "stages", _STAGES), ("refine", "refine", _REFINE))
        for number, their in enumerate(n for n in order if any(name.startswith(f"{part}{n}.") for name in theirs))
    }

    def rename(name: str) -> str:
        part = name[: name.find(".") + 1]
        name = numbers.get(part, part) + name[len(part) :]
        for pattern, replacement in _RENAMES:
            name = re.sub(pattern, replacement, name)
        return name

    return {rename(name): value for name, value in theirs.items()}
