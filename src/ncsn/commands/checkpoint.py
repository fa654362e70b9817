"""python -m ncsn.checkpoint convert in.pth out.safetensors | push run/folder user/repo"""

import argparse
import sys
import tempfile
from pathlib import Path

from ncsn.checkpoint import TrainedScore, load_score, save_score
from ncsn.checkpoint.hub import FILE, upload
from ncsn.errors import UserError

_ASSUMPTIONS = {"experiment": str, "sigma_max": float, "sigma_min": float, "num_levels": int, "image_size": int}


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line; what is the user's to mend ends it with status 2 and one line on stderr."""
    parser = argparse.ArgumentParser("python -m ncsn.checkpoint", description="Checkpoints, from format to format.")
    commands = parser.add_subparsers(dest="command", required=True)
    convert = commands.add_parser("convert", help="the authors' .pth to ours; ours .ckpt to .safetensors and back")
    push = commands.add_parser("push", help="share one on the Hugging Face Hub, to be loaded as hf://user/repo")
    for command in (convert, push):
        command.add_argument("input", help="a checkpoint, or a run's folder for its newest; or hf://user/repo[/file]")
        command.add_argument("--weights", choices=["ema", "raw"], default="ema", help="where there are both")
        _add_assumptions(command)
    convert.add_argument("output", help="ends in .ckpt or .safetensors")
    push.add_argument("repo", help="user/repo; made if it is not there")
    push.add_argument("--private", action="store_true", help="if it is made, only for you to see")
    given = parser.parse_args(arguments)
    try:
        score = _load(given)
        if given.command == "convert":
            save_score(score, given.output)
            print(f"{given.output}: {score.weights} weights after {score.step} steps")
        else:
            with tempfile.TemporaryDirectory() as folder:
                save_score(score, Path(folder, FILE))
                print(upload(Path(folder, FILE), given.repo, given.private))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _add_assumptions(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("what a checkpoint of the authors does not say; by default as published")
    for name, kind in _ASSUMPTIONS.items():
        group.add_argument(f"--{name.replace('_', '-')}", type=kind)


def _load(given: argparse.Namespace) -> TrainedScore:
    return load_score(given.input, given.weights, **{name: getattr(given, name) for name in _ASSUMPTIONS})


if __name__ == "__main__":
    main()
