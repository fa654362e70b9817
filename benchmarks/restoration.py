"""How good is each way to restore images, on the very same damaged ones?

    python benchmarks/restoration.py [--data mnist] [--steps 2500] [--filters 16] [--images 250] [--root data]
    python benchmarks/restoration.py --specialists --steps 800 --filters 8 --folder runs/specialists …

One network each is trained by `experiment=quick` with so many filters and steps of 32 images:

    palette         given the damaged image, for all damages at once (`condition=multitask`)
    regression      the same network in one evaluation, the paper's baseline (`objective=regression`)
    unconditional   given nothing; restores by Algorithm 2, where the damage is a hole or grey

and with --specialists, in place of regression, one for each damage alone, as in the paper's last table.

`evaluate.py task=restore` judges them by the data set's own classifier, or where it is CelebA, without labels, by
EfficientNet: all in 20 evaluations of SDE-DPM-Solver++(2M), and then, without specialists, Palette and Algorithm 2 in
100 of DDPM's sampler. What lies in the folder is not made again.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from harness import save

HERE = Path(__file__).parents[1]
OF_COLOUR = ["colorize", "inpaint", "uncrop", "jpeg"]
DAMAGES = {"mnist": ["inpaint", "uncrop", "jpeg"], "cifar10": OF_COLOUR, "celeba": OF_COLOUR}
FEATURES = {"mnist": "classifier", "cifar10": "classifier", "celeba": "efficientnet"}
BY_ALGORITHM_2 = {"colorize", "inpaint", "uncrop"}
SAMPLERS = {
    "sde_dpmpp_2m 20": [],  # the default of task=restore
    "ddpm 100": ["sampler=ddpm", "sampler.steps=100", "sampler.clip=true"],
}


def run(command: list[str]) -> None:
    environment = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, *command], cwd=HERE, env=os.environ | environment, check=True)


def train(folder: Path, data: str, root: Path, steps: int, filters: int, options: list[str]) -> Path:
    """A network of so many steps; goes on where it was interrupted."""
    if not (folder / "checkpoints" / f"step_{steps:07d}.ckpt").is_file():
        fixed = [f"model.num_filters={filters}", f"trainer.max_steps={steps}"]
        fixed += ["scheduler=cosine", "trainer.max_time=null"]
        start = [f"resume={folder}"] if (folder / "checkpoints").is_dir() else [f"hydra.run.dir={folder}", *options]
        common = ["experiment=quick", f"data={data}", f"data.root={root}", *fixed]
        run(["train.py", *start, *([] if start[0].startswith("resume") else common)])
    return folder


def judge(palette: Path, how: list[str], against: list[Path], out: Path) -> Any:
    """What `evaluate.py` says of these networks."""
    record = out / "evaluation.json"
    if not record.is_file():
        others = [f"against=[{','.join(map(str, against))}]"] if against else []
        run(["evaluate.py", f"ckpt={palette}", "task=restore", "num_samples=2", *how, f"out={out}", *others])
    return json.loads(record.read_text())["restoration"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=list(DAMAGES), default="mnist")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--filters", type=int, default=16)
    parser.add_argument("--images", type=int, default=250)
    parser.add_argument("--root", type=Path, default=Path("data"))
    parser.add_argument("--folder", type=Path, default=Path("runs/restoration"))
    parser.add_argument("--specialists", action="store_true")
    parser.add_argument(
        "--unconditional", type=Path, default=None, help="a run that is there, in place of training one"
    )
    options = parser.parse_args()

    damages, folder, root = DAMAGES[options.data], options.folder.resolve(), options.root.resolve()
    several = ["condition=multitask", f"condition.damages=[{','.join(damages)}]"]
    kinds: dict[str, list[str]] = {"palette": several, "unconditional": []}
    if options.specialists:
        kinds |= {damage: [f"condition={damage}"] for damage in damages}
    else:
        kinds["regression"] = [*several, "objective=regression"]
    of = {
        name: train(folder / f"{options.data}_{name}", options.data, root, options.steps, options.filters, how)
        for name, how in kinds.items()
        if name != "unconditional" or options.unconditional is None
    }
    if options.unconditional is not None:
        of["unconditional"] = options.unconditional.resolve()
    found: dict[str, Any] = {name: getattr(options, name) for name in ("data", "steps", "filters", "images")}
    found["damages"] = {}
    for name, sampler in list(SAMPLERS.items())[: 1 if options.specialists else None]:
        for damage in damages:
            rows = found["damages"].setdefault(damage, {"methods": {}})
            others = {"unconditional": of["unconditional"]} if damage in BY_ALGORITHM_2 else {}
            if options.specialists:
                others["specialist"] = of[damage]
            elif not sampler:
                others["regression"] = of["regression"]
            if not others:
                continue
            out = folder / "judged" / f"{options.data}_{damage}_{name.replace(' ', '_')}"
            how = [f"task.damage={damage}", f"features={FEATURES[options.data]}", f"num_images={options.images}"]
            judged = judge(of["palette"], [*how, *sampler], list(others.values()), out)
            names = ["damaged", "palette", *others, "originals"]
            for method, entry in zip(names, judged["methods"], strict=True):
                drawn = method not in ("damaged", "regression", "originals")
                rows["methods"][f"{method}, {name}" if drawn else method] = entry["scores"]
            if "by_quality" in judged:
                rows["by_quality"] = {"methods": names[:-1], "bins": judged["by_quality"]}
            what = "specialists" if options.specialists else "restoration"
            save(f"{what}_{options.data}", found, torch.device("cpu"))


if __name__ == "__main__":
    main()
