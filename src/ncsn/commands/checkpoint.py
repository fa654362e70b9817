"""`ncsn convert in.pth out.safetensors`, and `ncsn push run/folder user/repo`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ncsn.commands.ending import Parser

if TYPE_CHECKING:
    from ncsn.checkpoint import TrainedScore

_ASSUMPTIONS = {"experiment": str, "sigma_max": float, "sigma_min": float, "num_levels": int, "image_size": int}


def convert(arguments: list[str]) -> None:
    """Writes a checkpoint in another format.

    Raises:
        UserError: the checkpoint cannot be read, or the other cannot be written.
    """
    does = "Writes a checkpoint as .ckpt or .safetensors, or for diffusers; reads the authors' .pth as well."
    parser = _parser("ncsn convert", does)
    parser.add_argument("output", help="ends in .ckpt or .safetensors; for diffusers, a folder")
    diffusers = "format=diffusers"
    parser.add_argument("format", nargs="?", choices=[diffusers], metavar=diffusers, help="what DDPMPipeline loads")
    parser.add_argument("--half", action="store_true", help="weights in float16; they are read as float32")
    given = parser.parse_args(arguments)
    if given.half and given.format:
        parser.error("--half: diffusers' files are of float32")
    score = _load(given)
    from ncsn.checkpoint import save_score
    from ncsn.checkpoint.diffusers import write_diffusers

    if given.format == diffusers:
        write_diffusers(score, Path(given.output))
    else:
        save_score(score, given.output, half=given.half)
    print(f"{given.output}: {score.weights} weights after {score.step} steps")


def push(arguments: list[str]) -> None:
    """Shares a checkpoint on the Hugging Face Hub.

    Raises:
        UserError: the checkpoint cannot be read, or the Hub refuses it.
    """
    parser = _parser("ncsn push", "Shares a checkpoint on the Hugging Face Hub, to be loaded as hf://user/repo.")
    parser.add_argument("repo", help="user/repo; created if it does not exist")
    parser.add_argument("--private", action="store_true", help="create it visible to you alone")
    parser.add_argument(
        "--license", default="unknown", help="of the weights, as the Hub writes it: mit, cc-by-4.0, …"
    )
    given = parser.parse_args(arguments)
    score = _load(given)
    from ncsn.checkpoint import hub

    repo = hub.create(given.repo, given.private or None)
    score.push_to_hub(repo, model_card_kwargs={"license": given.license, "checkpoint": given.input})
    print(f"{hub.SCHEME}{repo}")


def _parser(command: str, description: str) -> Parser:
    parser = Parser(command, description=description)
    parser.add_argument("input", help="a checkpoint, a run's folder for its newest, or hf://user/repo[/file]")
    parser.add_argument("--weights", choices=["ema", "raw"], default="ema", help="which, where there are both")
    parser.add_argument("--trust", action="append", default=[], help="import path of a class of yours that it names")
    group = parser.add_argument_group("what a checkpoint of the authors does not say; by default as published")
    for name, kind in _ASSUMPTIONS.items():
        group.add_argument(f"--{name.replace('_', '-')}", type=kind)
    return parser


def _load(given: argparse.Namespace) -> "TrainedScore":
    from ncsn.checkpoint import load_score  # and PyTorch with it: not before the arguments are known to be right

    assumptions = {name: getattr(given, name) for name in _ASSUMPTIONS}
    return load_score(given.input, given.weights, trust=given.trust, **assumptions)
