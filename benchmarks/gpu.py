"""All that there is to do on the day a GPU is there, in 25 minutes at most: `make gpu`.

    python benchmarks/gpu.py [--device cuda] [--minutes 6] [--root data] [--out runs/gpu/<date and time>]

1. Correctness: networks, samplers and trainings on the GPU beside the CPU, in float32 without TF32; two beside one.
2. Speed: benchmarks/training.py and sampling.py, which leave their results in benchmarks/results.
3. MNIST by the paper: `--minutes` of training, and 1,000 samples scored by the data set's classifier.
4. What the documents are to be updated with.

Each part has its share of the time and is ended when that is over; what it has found until then is kept.
`--device cpu` tries all of it, small, where there is no GPU; its results stay in `--out`.
"""

import argparse
import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import ncsn
from ncsn import noise, samplers
from ncsn.networks.compiled import has_fast_bfloat16
from ncsn.networks.energy import EnergyNCSN
from ncsn.objectives import denoising_score_matching
from ncsn.random import Draws

ROOT = Path(__file__).parents[1]
WHOLE, SPEED, TWO, SCORING = 25, 9, 2, 4  # minutes: all of it, and the most of some parts
FLOAT32, BFLOAT16, STEPS = 1e-4, 5e-2, 1e-3  # relative differences: of an output, in bfloat16, after many of them


def relative(found: Tensor, expected: Tensor) -> float:
    """‖found − expected‖/‖expected‖, in float64 on the CPU."""
    a, b = found.detach().cpu().double(), expected.detach().cpu().double()
    return float((a - b).norm() / b.norm())


def networks() -> Iterator[tuple[str, nn.Module, Tensor]]:
    """One of each kind, with weights that leave no layer at zero, and images for it."""
    torch.manual_seed(0)
    sigmas = noise.geometric(num_levels=10)
    unet = partial(ncsn.UNet, image_size=16, in_channels=3, num_filters=32, multipliers=[1, 2], num_blocks=1)
    kinds: dict[str, Callable[[], nn.Module]] = {
        "NCSN": partial(ncsn.NCSN, sigmas, image_size=28, in_channels=1, num_filters=32),
        "NCSNv2": partial(ncsn.NCSNv2, sigmas, image_size=32, in_channels=3, num_filters=32),
        "EnergyNCSN": partial(EnergyNCSN, sigmas, image_size=28, in_channels=1, num_filters=16),
        **{
            f"UNet, {form}": partial(unet, sigmas, attention_resolutions=[8], form=form)
            for form in ("ddpm", "v", "edm")
        },
    }
    for name, make in kinds.items():
        network = make().eval().requires_grad_(False)
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        size, channels = (
            (28, 1) if "UNet" not in name and name != "NCSNv2" else (16, 3) if "UNet" in name else (32, 3)
        )
        yield name, network, torch.rand(4, channels, size, size)


def of_networks(device: torch.device) -> Iterator[tuple[str, float, float]]:
    sigma = torch.tensor([1.0, 0.3, 0.05, 0.01])
    for name, network, x in networks():
        expected = network(x, sigma)
        there = copy.deepcopy(network).to(device)
        yield f"{name}, float32", relative(there(x.to(device), sigma.to(device)), expected), FLOAT32
        if has_fast_bfloat16(device.type) and name != "EnergyNCSN":
            with torch.autocast(device.type, torch.bfloat16):
                found = there(x.to(device), sigma.to(device)).float()
            yield f"{name}, bfloat16", relative(found, expected), BFLOAT16


def of_samplers(device: torch.device) -> Iterator[tuple[str, float, float]]:
    """The chains of a trained network, with the noise that the CPU draws."""
    here, there = ncsn.load_score("builtin:mnist"), ncsn.load_score("builtin:mnist", device=device)
    of_class = [ncsn.Given(s, {"label": torch.arange(4).to(s.sigmas.device)}) for s in (here, there)]
    chosen: list[Any] = [samplers.DDIM(12), samplers.DDPM(12), samplers.DPMSolverPP(12, eta=1.0), samplers.Heun(8)]
    chosen += [samplers.Heun(8, churn=4.0, float64=True), samplers.UniPC(12), samplers.PredictorCorrector(6)]
    chosen += [samplers.AnnealedLangevin(2, None), samplers.ConsistentAnnealedSampling(2)]
    for sampler in chosen:
        ends = []
        for score, trained in zip(of_class, (here, there), strict=True):
            draws, sigmas = Draws(0, "sample", 0), trained.sigmas
            x = samplers.start(sampler, (4, *here.image_shape), here.sigmas, draws).to(sigmas.device)
            normal = lambda x, draws=draws: draws.normal(x.cpu()).to(x)  # noqa: E731
            for state in sampler(score, x, sigmas, normal=normal):
                x = state.x
            ends.append(x)
        yield type(sampler).__name__, relative(ends[1], ends[0]), STEPS


def of_training(device: torch.device) -> Iterator[tuple[str, float, float]]:
    """The losses of eight steps of Adam, with the noise that the CPU draws."""
    for name, network, x in networks():
        losses = []
        for where in (torch.device("cpu"), device):
            model = copy.deepcopy(network).to(where).train().requires_grad_(True)
            optimizer, draws = torch.optim.Adam(model.parameters(), lr=1e-4), Draws(0, "train", 0)
            for _ in range(8):
                sigma = noise.geometric(num_levels=10)[draws.integers(10, len(x))].to(where)
                normal = lambda x, draws=draws: draws.normal(x.cpu()).to(x)  # noqa: E731
                loss = denoising_score_matching(model, x.to(where), sigma, normal=normal).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.detach().cpu())
        yield f"training of {name}", relative(torch.stack(losses[8:]), torch.stack(losses[:8])), STEPS


def correctness(device: torch.device, deadline: float) -> list[dict[str, Any]]:
    """Each comparison in turn, while there is time."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    found: list[dict[str, Any]] = []
    for part in (of_networks, of_samplers, of_training):
        for what, difference, allowed in part(device):
            good = difference <= allowed  # False for what is no number
            found.append({"what": what, "difference": difference, "allowed": allowed, "good": good})
            print(f"  {'ok ' if good else 'BAD'} {what:44} {difference:.1e} of {allowed:.0e}", flush=True)
            if time.monotonic() > deadline:
                return found
    return found


def command(arguments: list[str], log: Path, minutes: float, **environment: str) -> bool:
    """Runs a program with its output in a file; False where it fails, or takes longer than it may."""
    print(f"  {' '.join(arguments)} > {log}", flush=True)
    with log.open("a") as file:
        try:
            whole = os.environ | environment
            done = subprocess.run(
                [sys.executable, *arguments], cwd=ROOT, env=whole, stdout=file, stderr=file, timeout=60 * minutes
            )
        except subprocess.TimeoutExpired:
            print(f"  ended after {minutes:.1f} minutes", flush=True)
            return False
    if done.returncode:
        print(f"  ended with status {done.returncode}: {log}", flush=True)
    return done.returncode == 0


def two_devices(out: Path, minutes: float) -> dict[str, Any]:
    """The same 50 steps on one GPU and on two, which share each batch."""
    ends = []
    for devices in (1, 2):
        run = out / f"on_{devices}"
        settings = ["data=digits", "model.num_filters=16", "trainer.max_steps=50", f"trainer.devices={devices}"]
        settings += ["trainer.accelerator=gpu", "callbacks.samples.every_n_steps=0", f"hydra.run.dir={run}"]
        if not command(["train.py", *settings], out / "two.log", minutes / 2):
            return {"what": "two devices", "difference": None, "allowed": STEPS, "good": False}
        ends.append(ncsn.load_score(run).network.state_dict())
    weights = [torch.cat([value.flatten() for value in end.values()]) for end in ends]
    difference = relative(weights[1], weights[0])
    return {"what": "two devices", "difference": difference, "allowed": STEPS, "good": difference <= STEPS}


def mnist(out: Path, device: torch.device, minutes: float, scoring: float, root: Path) -> dict[str, Any]:
    """The paper's run for some minutes, and its scores; empty where it did not get so far."""
    small = device.type == "cpu"
    run = out / "mnist"
    where = [f"trainer.accelerator={'cpu' if small else 'gpu'}", "trainer.devices=1", f"data.root={root}"]
    time_ = f"trainer.max_time={{minutes: {int(minutes)}, seconds: {int(60 * (minutes % 1))}}}"
    how = ["model.num_filters=4", "sampler.steps_per_level=1"] if small else ["speed=fast"]
    training = ["train.py", "experiment=mnist", f"hydra.run.dir={run}", "callbacks.samples.every_n_steps=0"]
    # Compiling counts as part of the time; a checkpoint of the end is written when it is over.
    if not command([*training, *where, *how, time_], out / "mnist.log", minutes + 2):
        return {}
    count = 32 if small else 1000
    drawing = [] if small else ["batch_size=500", "speed=fast"]
    scored = [
        "evaluate.py",
        f"ckpt={run / 'checkpoints' / 'last.ckpt'}",
        "features=classifier",
        f"num_samples={count}",
    ]
    command([*scored, *where, *drawing], out / "mnist.log", scoring)
    for record in run.glob("samples/*/evaluation.json"):
        content = json.loads(record.read_text())
        return {"steps": content["checkpoint"]["step"], "picture": str(record.with_name("grid.png"))} | content[
            "scores"
        ]
    return {}


def report(out: Path, found: dict[str, Any]) -> Path:
    """What was found, for those who read it, and what is left to do with it."""
    lines = [
        f"# {found['device']}, torch {torch.__version__}",
        "",
        "| compared | difference | allowed |",
        "|---|---|---|",
    ]
    lines += [
        f"| {c['what']}{'' if c['good'] else ' **BAD**'} | {c['difference'] or 0:.1e} | {c['allowed']:.0e} |"
        for c in found["correctness"]
    ]
    lines += ["", f"MNIST by the paper, {found['minutes']} minutes:", "", "```json"]
    lines += [json.dumps(found["mnist"], indent=1), "```", "", "To do:", ""]
    lines += [
        f"- speed: {', '.join(found['speed']) or 'not measured'}; `python benchmarks/show.py` puts it into "
        "docs/performance.md",
        "- docs/results.md: a line on MNIST by the paper with device, time, steps and scores from above",
        f"- docs/performance.md, where it says that nothing was measured on a GPU: the device, {found['device']}",
    ]
    path = out / "report.md"
    path.write_text("\n".join(lines) + "\n")
    (out / "report.json").write_text(json.dumps(found, indent=1) + "\n")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--minutes", type=float, default=6, help="of training on MNIST")
    parser.add_argument("--root", type=Path, default=Path("data"), help="of the data sets")
    parser.add_argument("--out", type=Path, default=Path("runs", "gpu", datetime.now().strftime("%Y-%m-%d_%H-%M-%S")))
    given = parser.parse_args()
    if not 0 < given.minutes <= 8:
        parser.error("--minutes: must be above 0 and at most 8, or 25 minutes are not enough")
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("error: no GPU is here that PyTorch reaches; --device cpu tries the script without one")
    device, out = torch.device(given.device), given.out.absolute()
    out.mkdir(parents=True)
    start, real = time.monotonic(), given.device == "cuda"
    share = 1.0 if real else given.minutes / 6  # of the times of the parts

    def left(most: float) -> float:
        return max(min(most * share, WHOLE - (time.monotonic() - start) / 60), 2)

    name = torch.cuda.get_device_name() if real else "CPU"
    found: dict[str, Any] = {"device": name, "minutes": given.minutes, "speed": [], "mnist": {}}
    print(f"correctness, {name} beside the CPU", flush=True)
    found["correctness"] = correctness(device, time.monotonic() + 60 * left(4))
    if torch.cuda.device_count() > 1:
        found["correctness"].append(two_devices(out, left(TWO)))
    print("MNIST by the paper", flush=True)
    found["mnist"] = mnist(out, device, given.minutes, left(SCORING), given.root.absolute())
    print("speed", flush=True)
    results = ROOT / "benchmarks" / "results" if real else out
    for benchmark in ("training", "sampling"):
        arguments = [f"benchmarks/{benchmark}.py", "--rounds", "5" if real else "2"]
        if command(arguments, out / "speed.log", left(SPEED / 2), BENCHMARK_RESULTS=str(results)):
            found["speed"] += sorted(str(path) for path in results.glob(f"{benchmark}_{given.device}*.json"))
    path = report(out, found)
    bad = [c["what"] for c in found["correctness"] if not c["good"]]
    print(f"\nbad: {', '.join(bad)}" if bad else "\nall that was compared agrees")
    print(f"{(time.monotonic() - start) / 60:.1f} minutes; results: {out}; what to do with them: {path}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
