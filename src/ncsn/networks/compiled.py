"""A network made faster without changing what it is: the same parameters under the same names."""

from contextlib import AbstractContextManager

import torch
from torch import nn

from ncsn.energy import EnergyScore


def compile_in_place(network: nn.Module, *, cuda_graphs: bool = False) -> None:
    """Has `torch.compile` fuse all that lies between the convolutions, with feature maps channels-last.

    The first call of each kind (training or not, and every batch size) compiles, for a minute or more; the keys of
    `state_dict` stay what they are. Most is gained together with `torch.autocast` in bfloat16.

    Args:
        network: s(x, σ).
        cuda_graphs: on a GPU, launch the whole network at once; its output is overwritten by the next call.

    Raises:
        ValueError: the network's output is a derivative, which `torch.compile` does not differentiate.
    """
    if isinstance(network, EnergyScore):
        raise ValueError("the score of an energy is a derivative, which cannot be compiled; set compile=false")
    torch.compiler.reset()  # it keeps eight variants of a function over all networks, and a sweep comes to more
    network.to(memory_format=torch.channels_last)
    network.compile(dynamic=False, options={"triton.cudagraphs": cuda_graphs})


def constant_weights(device: torch.device) -> AbstractContextManager[None]:
    """What is compiled within, where no gradients are asked for, takes the network's weights for constants.

    On a CPU they are then laid out once as its convolutions want them, not at every call; elsewhere nothing changes.
    The weights must stay what they are for as long as the network is used.
    """
    from torch._inductor import config as inductor  # a second to import, and of use here alone

    return inductor.patch(freezing=device.type == "cpu")


def round_weights(network: nn.Module) -> None:
    """Keeps the convolutions' weights in bfloat16, as `torch.autocast` would round them at every call.

    For sampling only. The first and the last convolution stay in float32, as they do there, and weights that are
    averaged before they are rounded.
    """
    for module in network.modules():
        if type(module) is nn.Conv2d:
            module.to(torch.bfloat16)
