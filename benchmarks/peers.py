"""Beside diffusers and denoising-diffusion-pytorch: speed at an equal network, and quality for the same time.

    pip install -c constraints.txt --group peers      # pip 25.1 or later
    python benchmarks/peers.py speed [--rounds 7] [--width 32] [--batch 16] [--channels 3]
    python benchmarks/peers.py quality [--data mnist] [--minutes 5 10 20 40] [--seeds 3] [--samples 500]
                                       [--root data] [--folder runs/peers]

speed: one U-Net of diffusers with the weights that all share, given to this project by its own converter and to the
others as it is; a step of training and ten of DDIM, in turns. Images have 32×32 pixels. Peak memory is that of a
process alone. Results of other sizes stay beside, those of another machine do not.

quality: on one core, each with its own recipe: `experiment=quick`; the narrow NCSN of the demo, its rate falling to
zero in the time; the network of diffusers' course at half its width, with the course's loop; the U-Net of
denoising-diffusion-pytorch at about the same cost per image, with its README's settings. The rates of these two are
constant, so one training is scored after each number of minutes; ours are trained anew for each. Scored are samples
by the data set's classifier: 20 evaluations each of `quick`, 97 of the NCSN, and of the others 50 of DDIM, with noise
or without, whichever is better. What is in the folder already is not done again.
"""

import argparse
import copy
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
from harness import RESULTS, check_fast, compare, device, kind, machine, precision, save, setting_of
from torch import Tensor, nn
from torch.nn.functional import mse_loss, pad

from ncsn import load_score
from ncsn.data import CIFAR10, MNIST, ImageDataModule
from ncsn.evaluation.classifier import Classifier
from ncsn.evaluation.features import extract
from ncsn.evaluation.image_sets import images_of
from ncsn.evaluation.reference import Reference
from ncsn.evaluation.scores import compute_scores
from ncsn.images import grid, save_png
from ncsn.networks.compiled import compile_in_place, constant_weights
from ncsn.objectives import denoising_score_matching
from ncsn.random import Draws
from ncsn.samplers import DDIM

WHERE = device()
OF_PEERS, DRAWN_AT_ONCE = 50, 100
STEPS = 10  # of DDIM, in a run of sampling
SIDE = 32
IMAGES, COLUMNS = Path(__file__).parents[1] / "docs" / "images", 20  # of a picture of samples


class Course:
    """The network of diffusers' course at half its width, and the course's loop."""

    def __init__(self, images: Tensor) -> None:
        # Padded, as networks of 32 pixels often see MNIST, which costs some speed.
        self.images, self.channels, size = images, images.shape[1], images.shape[-1]
        self.width = SIDE if size == 28 else size
        self.margin = (self.width - size) // 2
        self.network = UNet2DModel(
            sample_size=self.width,
            in_channels=self.channels,
            out_channels=self.channels,
            layers_per_block=2,
            block_out_channels=(16, 32, 32),
            norm_num_groups=16,
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        )
        self.scheduler = DDPMScheduler(1000)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-3)

    def step(self) -> None:
        x = self.images[torch.randint(len(self.images), (64,))] / 127.5 - 1
        x = pad(x, (self.margin,) * 4, value=-1.0)
        noise, t = torch.randn_like(x), torch.randint(1000, (len(x),))
        loss = mse_loss(self.network(self.scheduler.add_noise(x, noise, t), t).sample, noise)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    @torch.no_grad()
    def draw(self, count: int, eta: float = 0.0) -> Tensor:
        """uint8 images (count, H, W, C)."""
        ddim, drawn = DDIMScheduler.from_config(self.scheduler.config), []
        ddim.set_timesteps(OF_PEERS)
        for x in torch.randn(count, self.channels, self.width, self.width).split(DRAWN_AT_ONCE):
            for t in ddim.timesteps:
                x = ddim.step(self.network(x, t).sample, t, x, eta=eta).prev_sample
            drawn.append(x[..., self.margin : self.width - self.margin, self.margin : self.width - self.margin])
        return _pixels((torch.cat(drawn) + 1) / 2)


class Lucidrains:
    """The U-Net of denoising-diffusion-pytorch with the settings of its README, narrower: as its `Trainer` has it."""

    def __init__(self, images: Tensor) -> None:
        from denoising_diffusion_pytorch import GaussianDiffusion, Unet
        from ema_pytorch import EMA

        self.images = images
        network = Unet(dim=16, dim_mults=(1, 2, 4), channels=images.shape[1])
        settings = {"image_size": images.shape[-1], "timesteps": 1000, "sampling_timesteps": OF_PEERS}
        self.diffusion = GaussianDiffusion(network, **settings)
        self.optimizer = torch.optim.Adam(self.diffusion.parameters(), lr=8e-5, betas=(0.9, 0.99))
        self.average = EMA(self.diffusion, beta=0.995, update_every=10)

    def step(self) -> None:
        for _ in range(2):  # gradients are accumulated over two batches of 32
            x = self.images[torch.randint(len(self.images), (32,))] / 255
            (self.diffusion(x) / 2).backward()
        nn.utils.clip_grad_norm_(self.diffusion.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.update()

    def draw(self, count: int, eta: float = 0.0) -> Tensor:
        """uint8 images (count, H, W, C)."""
        self.average.ema_model.ddim_sampling_eta = eta
        sizes = [DRAWN_AT_ONCE] * (count // DRAWN_AT_ONCE) + [count % DRAWN_AT_ONCE] * (count % DRAWN_AT_ONCE > 0)
        return _pixels(torch.cat([self.average.ema_model.sample(batch_size=size) for size in sizes]))


PEERS = {"diffusers": Course, "denoising-diffusion-pytorch": Lucidrains}
NARROW = ["optimizer=adam", "model.num_filters=16", "data.batch_size=32"]
OURS = {
    "quick": ["experiment=quick"],
    "ncsn": ["experiment=demo", *NARROW, "scheduler=over_time", "trainer.max_steps=-1"],
}
EVALUATIONS = {"quick": 20, "ncsn": 97, **dict.fromkeys(PEERS, OF_PEERS)}  # per image
DATA = {"mnist": MNIST, "cifar10": CIFAR10}


def _pixels(x: Tensor) -> Tensor:
    return (255 * x.clamp(0, 1)).round().byte().permute(0, 2, 3, 1)


# Speed.


class _Bare(nn.Module):
    """F(x, t) as denoising-diffusion-pytorch asks for a network."""

    self_condition = False

    def __init__(self, network: UNet2DModel) -> None:
        super().__init__()
        self.network, self.channels, self.out_dim = network, network.config.in_channels, network.config.out_channels

    def forward(self, x: Tensor, t: Tensor, x_self_cond: None = None) -> Tensor:
        return self.network(x, t).sample


def variants(width: int, batch: int, channels: int) -> dict[str, dict[str, Callable[[], object]]]:
    """What is timed, by what it is and whose: each makes its own copy of one network.

    Raises:
        AssertionError: the converted network gives other outputs.
    """
    from denoising_diffusion_pytorch import GaussianDiffusion

    torch.manual_seed(0)
    theirs = UNet2DModel(
        sample_size=SIDE,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(width, 2 * width, 2 * width),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=16,
    )
    with TemporaryDirectory() as folder:
        theirs.save_pretrained(f"{folder}/unet")
        DDPMScheduler(1000).save_pretrained(f"{folder}/scheduler")
        score = load_score(folder)
    theirs.to(WHERE)
    x, t = torch.randn(2, channels, SIDE, SIDE), torch.tensor([10.0, 900.0])
    ours = score.network.get_submodule("network")
    with torch.no_grad():
        torch.testing.assert_close(ours(x, t), theirs(x.to(WHERE), t.to(WHERE)).sample.cpu(), rtol=1e-3, atol=1e-4)
    images = torch.rand(batch, channels, SIDE, SIDE, device=WHERE)
    sigmas = score.sigmas.to(WHERE)

    def our_training(fast: bool) -> Callable[[], object]:
        network = copy.deepcopy(score.network).to(WHERE).requires_grad_(True).train()
        optimizer, numbers = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True), iter(range(10**9))
        if fast:
            compile_in_place(network)

        def step() -> None:
            draws = Draws(0, "train", next(numbers), device=WHERE)
            with precision(WHERE, fast):
                sigma = sigmas[draws.integers(len(sigmas), batch)]
                loss = denoising_score_matching(network, images, sigma, normal=draws.normal).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        return step

    def diffusers_training() -> Callable[[], object]:
        network, scheduler = copy.deepcopy(theirs).train(), DDPMScheduler(1000)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)

        def step() -> None:
            x = 2 * images - 1
            noise, t = torch.randn_like(x), torch.randint(1000, (batch,), device=WHERE)
            loss = mse_loss(network(scheduler.add_noise(x, noise, t), t).sample, noise)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        return step

    def gaussian(steps: int | None = None) -> GaussianDiffusion:
        settings = {"objective": "pred_noise", "beta_schedule": "linear", "sampling_timesteps": steps}
        return GaussianDiffusion(_Bare(copy.deepcopy(theirs)), image_size=SIDE, timesteps=1000, **settings).to(WHERE)

    def lucidrains_training() -> Callable[[], object]:
        diffusion = gaussian().train()
        optimizer = torch.optim.Adam(diffusion.parameters(), lr=1e-4, betas=(0.9, 0.99))

        def step() -> None:
            diffusion(images).backward()
            nn.utils.clip_grad_norm_(diffusion.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

        return step

    def our_sampling(fast: bool) -> Callable[[], object]:
        network = copy.deepcopy(score.network).to(WHERE).requires_grad_(False).eval()
        if fast:
            compile_in_place(network, cuda_graphs=True)

        def run() -> None:
            draws, sampler = Draws(0, "sample", 0, device=WHERE), DDIM(STEPS, spacing="uniform", clip=True)
            x = 0.5 + sigmas[0] * draws.normal(images)
            with torch.no_grad(), precision(WHERE, fast), constant_weights(WHERE):
                for _ in sampler(network, x, sigmas, normal=draws.normal):
                    pass

        return run

    def diffusers_sampling() -> Callable[[], object]:
        network, ddim = copy.deepcopy(theirs).eval(), DDIMScheduler(1000)

        @torch.no_grad()
        def run() -> None:
            ddim.set_timesteps(STEPS)
            x = torch.randn_like(images)
            for t in ddim.timesteps:
                x = ddim.step(network(x, t).sample, t, x).prev_sample

        return run

    def lucidrains_sampling() -> Callable[[], object]:
        diffusion = gaussian(STEPS).eval()
        return lambda: diffusion.sample(batch_size=batch)

    return {
        "training": {
            "diffusers": lambda: diffusers_training(),
            "denoising-diffusion-pytorch": lambda: lucidrains_training(),
            "eager": lambda: our_training(False),
            "fast": lambda: our_training(True),
        },
        "sampling": {
            "diffusers": lambda: diffusers_sampling(),
            "denoising-diffusion-pytorch": lambda: lucidrains_sampling(),
            "eager": lambda: our_sampling(False),
            "fast": lambda: our_sampling(True),
        },
    }


def speed(rounds: int, width: int, batch: int, channels: int, only: list[str]) -> None:
    path = RESULTS / f"peers_speed_{kind(WHERE)}.json"
    before = json.loads(path.read_text()) if path.exists() else {"machine": {}, "settings": []}
    same = before["machine"].get("device") == machine(WHERE)["device"]
    settings: list[dict[str, Any]] = before["settings"] if same else []
    results: dict[str, Any] = {"size": SIDE, "channels": channels, "filters": width, "batch": batch}
    for what, made in variants(width, batch, channels).items():
        chosen = {name: make() for name, make in made.items() if name in only}
        found = compare(chosen, rounds)
        for name in chosen:
            alone = _alone(what, name, width, batch, channels)
            found[name] = alone | found[name]  # a GPU's peak is there already
        results[what] = {"variants": found}
        print(what, {name: (v["times_as_fast"], v["quartiles"]) for name, v in found.items()}, flush=True)
    settings = [s for s in settings if setting_of(s) != setting_of(results)] + [results]
    save("peers_speed", {"what": "beside others", "rounds": rounds, "settings": settings}, WHERE, kind(WHERE))
    if {"eager", "fast"} <= set(only):
        check_fast({f"{w}, {setting_of(results)}": results[w]["variants"] for w in ("training", "sampling")})


def _alone(what: str, name: str, width: int, batch: int, channels: int) -> dict[str, float]:
    """Of a second process that does this alone, three times: its peak memory in GiB, and its first call's seconds."""
    sizes = ["--width", str(width), "--batch", str(batch), "--channels", str(channels)]
    arguments = ["alone", "--what", what, "--only", name, *sizes]
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def alone(what: str, name: str, width: int, batch: int, channels: int) -> None:
    run = variants(width, batch, channels)[what][name]()
    start = time.perf_counter()
    run()
    first = time.perf_counter() - start
    for _ in range(2):
        run()
    peak = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())  # ru_maxrss begins at the parent's
    assert peak is not None
    gib = int(peak[1]) / 2**20
    print(json.dumps({"peak_gib": round(gib, 3), "first_call_again_seconds": round(first, 3)}))


# Quality.


def quality(
    name: str, minutes: list[float], seeds: int, samples: int, root: Path, folder: Path, only: list[str]
) -> None:
    torch.set_num_threads(1)
    data: ImageDataModule = DATA[name](root=str(root))
    data.prepare_data()
    for seed in range(seeds):
        for whose in only:
            places = {budget: folder.resolve() / f"{name}_{whose}_{budget:g}_{seed}" for budget in sorted(minutes)}
            if all((place / "record.json").is_file() for place in places.values()):
                continue
            if whose in PEERS:
                _theirs(PEERS[whose], seed, samples, data, places)
            else:
                options = [*OURS[whose], f"data={name}", f"data.root={root.resolve()}", f"seed={seed}"]
                _ours(options, samples, data, places)
    found: dict[str, Any] = {}
    for record in sorted(folder.glob(f"{name}_*/record.json")):
        whose, budget_, seed_ = record.parent.name.removeprefix(f"{name}_").rsplit("_", 2)
        found.setdefault(whose, {}).setdefault(budget_, {})[seed_] = json.loads(record.read_text())
    results = {"data": name, "samples": samples, "evaluations": EVALUATIONS, "found": found}
    save(f"peers_quality_{name}", results, torch.device("cpu"))
    for budget in sorted(set.intersection(*map(set, found.values())), key=float)[-1:]:
        rows = [_samples(folder / f"{name}_{whose}_{budget}_0", of[budget]["0"]) for whose, of in found.items()]
        save_png(grid(torch.cat(rows), COLUMNS), IMAGES / f"peers_{name}.png")


def _samples(place: Path, record: dict[str, Any]) -> Tensor:
    """Two rows of what was scored."""
    drawn = f"eta_{record['eta']:g}.npz" if "eta" in record else "drawn/samples.npz"
    return torch.from_numpy(np.load(place / drawn)["arr_0"][: 2 * COLUMNS]).permute(0, 3, 1, 2) / 255


def _theirs(make: Any, seed: int, samples: int, data: ImageDataModule, places: dict[float, Path]) -> None:
    """One training, scored after each number of minutes."""
    torch.manual_seed(seed)
    peer, steps, seconds = make(data.images("train")[:]), 0, 0.0
    for budget, place in places.items():
        while seconds < 60 * budget:
            start = time.monotonic()
            peer.step()
            steps, seconds = steps + 1, seconds + time.monotonic() - start
        place.mkdir(parents=True, exist_ok=True)
        scored = []
        for eta in (0.0, 1.0):
            drawn = place / f"eta_{eta:g}.npz"
            np.savez(drawn, peer.draw(samples, eta).numpy())
            scored.append({"eta": eta, **_distance(drawn, data)})
        _record(place, steps, min(scored, key=lambda scores: scores[f"classifier_frechet_{samples}"]))


def _ours(options: list[str], samples: int, data: ImageDataModule, places: dict[float, Path]) -> None:
    """A training for each number of minutes, by the project's own commands."""
    for budget, place in places.items():
        if (place / "record.json").is_file():
            continue
        clock = f"trainer.max_time=00:{int(budget) // 60:02}:{int(budget) % 60:02}:{round(60 * budget) % 60:02}"
        _run(["train.py", *options, clock, f"hydra.run.dir={place}"])
        _run(["sample.py", f"ckpt={place}", f"num_samples={samples}", "format=npz", f"out={place}/drawn"])
        steps = max(int(path.stem[5:]) for path in (place / "checkpoints").glob("step_*.ckpt"))
        _record(place, steps, _distance(next((place / "drawn").glob("*.npz")), data))


def _run(command: list[str]) -> None:
    subprocess.run([sys.executable, *command], cwd=Path(__file__).parents[1], check=True)


def _distance(drawn: Path, data: ImageDataModule) -> dict[str, float]:
    classifier = Classifier.for_data(data)
    reference = Reference.of(data, "train", classifier, Path(data.root, "references"))
    features = extract(classifier, images_of(drawn, data.channels).batches(250))
    return compute_scores(features, reference, which=["frechet", "precision_recall"])


def _record(place: Path, steps: int, scores: dict[str, float]) -> None:
    (place / "record.json").write_text(json.dumps({"steps": steps, **scores}))
    print(place.name, steps, scores, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["speed", "quality", "alone"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--what", choices=["training", "sampling"])
    parser.add_argument("--data", choices=list(DATA), default="mnist")
    parser.add_argument("--minutes", type=float, nargs="+", default=[5, 10, 20, 40])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--root", type=Path, default=Path("data"))
    parser.add_argument("--folder", type=Path, default=Path("runs", "peers"))
    parser.add_argument(
        "--only", nargs="+", help=f"whose: {', '.join(PEERS)}; of speed eager, fast; of quality quick, ncsn"
    )
    given = parser.parse_args()
    if given.part == "speed":
        speed(given.rounds, given.width, given.batch, given.channels, given.only or [*PEERS, "eager", "fast"])
    elif given.part == "alone":
        alone(given.what, given.only[0], given.width, given.batch, given.channels)
    else:
        os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        of = (given.data, given.minutes, given.seeds, given.samples, given.root, given.folder)
        quality(*of, given.only or list(EVALUATIONS))


if __name__ == "__main__":
    main()
