"""Making a network faster without changing what it is: the same parameters under the same names."""

from contextlib import AbstractContextManager

import torch
from torch import nn

from ncsn.energy import EnergyScore


def has_fast_bfloat16(device_type: str) -> bool:
    """Whether a device computes in bfloat16 faster than in float32.

    Processors without instructions for it emulate it, slower. Intel's that have AVX512_BF16 and no AMX are slower,
    too: a large matrix product has half the speed (docs/performance.md).

    Args:
        device_type: "cuda", "cpu", or another, which counts as one without.
    """
    if device_type == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if device_type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # not in PyTorch 2.6
    fast = {name for name, has in capabilities.items() if "bf16" in name and has}
    if "Intel" in str(capabilities.get("cpu_name")):
        fast &= {"amx_bf16"}
    return bool(fast) and torch.ops.mkldnn._is_mkldnn_bf16_supported()  # not with ONEDNN_MAX_CPU_ISA=AVX2


def compile_in_place(network: nn.Module, *, cuda_graphs: bool = False) -> None:
    """Has `torch.compile` fuse what lies between the convolutions, with feature maps channels-last.

    The first call of each kind (training or not, and every batch size) compiles, which takes a minute or more. The
    keys of `state_dict` stay the same. The gain is largest together with `torch.autocast` in bfloat16.

    Args:
        network: s(x, σ).
        cuda_graphs: on a GPU, launch the whole network at once; the next call then overwrites its output.

    Raises:
        ValueError: the network's output is a derivative, which `torch.compile` does not differentiate.
    """
    if isinstance(network, EnergyScore):
        raise ValueError("the score of an energy is a derivative, which cannot be compiled; set compile=false")
    torch.compiler.reset()  # eight variants of a function are kept over all networks, and a sweep needs more
    network.to(memory_format=torch.channels_last)
    network.compile(dynamic=False, options={"triton.cudagraphs": cuda_graphs})


def constant_weights(device: torch.device) -> AbstractContextManager[None]:
    """A context in which networks are compiled with their weights as constants, where no gradients are recorded.

    On a CPU the weights are then laid out for its convolutions once, not at every call; elsewhere nothing changes.
    The weights must not change for as long as the network is used.
    """
    from torch._inductor import config as inductor  # a second to import, and of use here alone

    return inductor.patch(freezing=device.type == "cpu")


def round_weights(network: nn.Module) -> None:
    """Keeps the convolutions' weights in bfloat16, to which `torch.autocast` would round them at every call.

    For sampling only. What autocast leaves in float32 stays so: the first and the last convolution, and weights that
    are averaged before they are rounded.
    """
    for module in network.modules():
        if type(module) is nn.Conv2d:
            module.to(torch.bfloat16)
