"""Writes the measurements into docs/performance.md, restoration.md and results.md, and draws their plots.

    python benchmarks/show.py

The function `name` below writes the part between `<!-- name -->` and `<!-- /name -->`; the rest of the documents
stays as it is. Missing measurements are named, both in the document and here.
"""

import json
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness import RESULTS, setting_of
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, ScalarFormatter

from ncsn.files import atomically, write_text

DOCS = Path(__file__).parents[1] / "docs"
DOCUMENTS = [DOCS / "performance.md", DOCS / "restoration.md", DOCS / "results.md"]
IMAGES = DOCS / "images"
KINDS = {"cpu": "CPU", "cpu_float32": "CPU in float32", "cuda": "GPU"}
NOT_MEASURED = {"cpu": "Not measured on a CPU yet.", "cuda": "Not measured on a GPU: none was available."}
OF_PRECISION = ("training", "sampling", "profiles")  # whose files say which kind of CPU they are of


def result(name: str, script: str) -> dict[str, Any] | None:
    """A file of results; None, and a message, if it is missing or cannot be read."""
    path = RESULTS / f"{name}.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        return found
    except FileNotFoundError:
        print(f"{path.name}: missing; python benchmarks/{script}.py writes it", file=sys.stderr)
    except ValueError as error:
        print(f"{path.name}: not JSON ({error}); python benchmarks/{script}.py writes it anew", file=sys.stderr)
    return None


def on_each(name: str, part: Callable[[dict[str, Any], str], str]) -> str:
    """`part` of the results of each kind of device, one below the other."""
    parts = []
    for kind in KINDS if name in OF_PRECISION else NOT_MEASURED:
        found = result(f"{name}_{kind}", name)
        parts.append(NOT_MEASURED.get(kind, "") if found is None else f"{part(found, kind)}\n\n{origin(found)}")
    return "\n\n".join(filter(None, parts))


def origin(found: dict[str, Any], rounds: str = "rounds") -> str:
    """The line below a table: machine, versions and number of rounds."""
    machine = found["machine"]
    threads = f", {count(machine['threads'], 'thread')} of {count(machine['cpus'], 'processor')}"
    counted = f"; {found['rounds']} {rounds}" if "rounds" in found else ""
    device = machine["device"] + (", speed=fast in float32" if in_fast(machine) == "float32" else "")
    return f"*{device}{threads}; torch {machine['torch']}; revision {machine['revision']}{counted}.*"


def count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("s" if number != 1 else "")


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def seconds(value: float) -> str:
    """Three digits, in s, ms or µs."""
    for unit, size in (("s", 1), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size or unit == "µs":
            return f"{digits(value / size)} {unit}"
    raise AssertionError


def digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def ratio(entry: dict[str, Any]) -> str:
    low, high = entry["quartiles"]
    return f"{entry['times_as_fast']:.2f} ({low:.2f} to {high:.2f})"


def three_ways(rows: Sequence[tuple[str, dict[str, Any]]], machine: dict[str, Any]) -> str:
    """Times, speedups and GFLOP/s of plain, eager and fast; the machine says how fast a matrix product is there."""
    head = ["", "plain", "eager", "fast", "speedup, eager (quartiles)", "speedup, fast (quartiles)"]
    head += ["GFLOP/s: plain, eager, fast", "share of a matrix product's: plain, fast", "first call, fast"]
    memory = any("peak_gib" in v["fast"] for _, v in rows)
    head += ["peak GiB: plain, eager, fast"] * memory
    lines = []
    for name, variants in rows:
        of = [variants[variant] for variant in ("plain", "eager", "fast")]
        line = [name, *(seconds(v["seconds"]) for v in of), ratio(of[1]), ratio(of[2])]
        line.append(", ".join(digits(v["gflops_per_s"]) for v in of))
        peaks = [machine["limits"][f"{numbers}_gflops"] for numbers in ("float32", in_fast(machine))]
        reached = [v["gflops_per_s"] / peak for v, peak in zip(of[::2], peaks, strict=True)]
        line += [", ".join(f"{share:.0%}" for share in reached), seconds(of[2]["first_call_seconds"])]
        if memory:
            line.append(", ".join(digits(v["peak_gib"]) for v in of))
        lines.append(line)
    return table(head, lines)


def in_fast(machine: dict[str, Any]) -> str:
    """The type of numbers that `speed=fast` computed with; files from before it was recorded are of bfloat16."""
    return machine.get("fast_in", "bfloat16")


def training() -> str:
    def part(found: dict[str, Any], _: str) -> str:
        return three_ways([(setting_of(s), s["variants"]) for s in found["settings"]], found["machine"])

    return on_each("training", part)


def sampling() -> str:
    def part(found: dict[str, Any], _: str) -> str:
        names = {"step": "one step", "run": "whole run"}
        settings = found["settings"]
        rows = [(f"{names[w]}, {setting_of(s)}", s[w]["variants"]) for w in names for s in settings]
        return three_ways(rows, found["machine"])

    return on_each("sampling", part)


def peers() -> str:
    """A step of training and ten of sampling beside two libraries with the same network."""
    parts = []
    for kind in KINDS:
        path = RESULTS / f"peers_speed_{kind}.json"
        if not path.exists():
            continue
        found = json.loads(path.read_text())
        rows = []
        for setting in found["settings"]:
            for what, name in (("training", "a step of training"), ("sampling", "ten of DDIM")):
                of = setting[what]["variants"]
                whole = [seconds(of[whose]["seconds"]) if whose in of else "" for whose in WHOSE]
                whole += [ratio(of[ours]) if ours in of else "" for ours in ("eager", "fast")]
                whole.append(", ".join(digits(of[whose]["peak_gib"]) for whose in WHOSE if whose in of))
                first = ("first_call_seconds", "first_call_again_seconds") if "fast" in of else ()
                whole.append(", ".join(seconds(of["fast"][call]) for call in first))
                rows.append([f"{name}, {setting_of(setting)}", *whole])
        head = ["", *WHOSE, "speedup over diffusers, eager (quartiles)", "the same, fast", "peak GiB"]
        head.append("first call, fast: of one process, of the next")
        parts.append(f"{table(head, rows)}\n\n{origin(found)}")
    return "\n\n".join(parts) or "No whole run of it has been measured yet."


WHOSE = ("diffusers", "denoising-diffusion-pytorch", "eager", "fast")


def startup() -> str:
    found = result("startup_cpu", "startup")
    if found is None:
        return NOT_MEASURED["cpu"]
    rows = [
        [f"`{name}`" if name.startswith(("ncsn", "import")) else name, seconds(c["seconds"]), times(c)]
        for name, c in found["commands"].items()
    ]
    return f"{table(['', 'time', 'times `import torch` (quartiles)'], rows)}\n\n{origin(found)}"


def times(entry: dict[str, Any]) -> str:
    low, high = entry["quartiles"]
    return f"{entry['times_import_torch']:.2f} ({low:.2f} to {high:.2f})"


def ratios() -> str:
    panels: list[tuple[str, list[tuple[str, dict[str, Any]]]]] = []
    for kind, title in KINDS.items():
        bars = []
        for name, parts in (("training", ("",)), ("sampling", ("step", "run"))):
            path = RESULTS / f"{name}_{kind}.json"
            for setting in json.loads(path.read_text())["settings"] if path.exists() else []:
                for part in parts:
                    found = (setting[part] if part else setting)["variants"]
                    bars.append((f"{name}{part and f', {part}'}: {setting_of(setting)}", found))
        if bars:
            panels.append((title, bars))
    if not panels:
        return "No plot yet: neither training nor sampling has been measured."
    figure = Figure(figsize=(9, 0.6 + sum(0.55 * len(bars) + 0.6 for _, bars in panels)), layout="constrained")
    heights = [len(bars) for _, bars in panels]
    for axes, (title, bars) in zip(
        figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0], panels, strict=True
    ):
        draw_ratios(axes, title, bars)
    return drawn("ratios", figure, "Speedup over plain, by setting; the whiskers are quartiles")


def draw_ratios(axes: Axes, title: str, bars: Sequence[tuple[str, dict[str, Any]]]) -> None:
    for offset, variant, colour in ((-0.2, "eager", "tab:blue"), (0.2, "fast", "tab:orange")):
        entries = [variants[variant] for _, variants in bars]
        widths = [entry["times_as_fast"] for entry in entries]
        # The ratio of the medians need not lie between the quartiles of the rounds' ratios.
        low = [max(0, w - e["quartiles"][0]) for w, e in zip(widths, entries, strict=True)]
        high = [max(0, e["quartiles"][1] - w) for w, e in zip(widths, entries, strict=True)]
        places = [place + offset for place in range(len(bars))]
        axes.barh(places, widths, 0.38, xerr=(low, high), color=colour, label=f"speed={variant}")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(bars)), [name for name, _ in bars])
    axes.invert_yaxis()
    axes.set(title=title, xlabel="speedup over plain")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))


def evaluations() -> str:
    parts = []
    for data in ("digits", "mnist"):
        for kind in NOT_MEASURED:
            found = result(f"evaluations_{data}_{kind}", "evaluations")
            if found is not None:
                parts.append(f"{spent(found)}\n\n{origin(found)}")
    return "\n\n".join(parts) or "Not measured yet."


def spent(found: dict[str, Any]) -> str:
    """Quality for each number of evaluations per image and each way to spend them."""
    name, budgets = found["score"], found["budgets"]
    ways = list(next(iter(budgets.values())))
    rows = []
    for budget, row in budgets.items():
        cells = []
        for way in ways:
            entry = row.get(way)
            cells.append("" if entry is None else "diverged" if name not in entry else f"{entry[name]:.3g}")
        rows.append([f"{int(budget):,}", *cells])
    of = found["network"]
    title = (
        f"{found['data']}: `{name}`, {of['model']['num_filters']} filters, {of['noise']['num_levels']} levels from "
        f"{of['noise']['sigma_max']:g} to {of['noise']['sigma_min']:g}, {of['steps']:,} training steps:"
    )
    note = (
        f"At 100 evaluations, the first column has a standard deviation of {found['standard_deviation']:.2g} over "
        f"three seeds. Its entry is {found['fast'][name]:.3g} with `speed=fast`, like all above, "
        f"and {found['float32'][name]:.3g} in float32 without compilation, with the same starts and noise."
    )
    return f"{title}\n\n{table(['evaluations per image', *ways], rows)}\n\n{note}"


def samplers() -> str:
    """The distance of each network's samples, by sampler and evaluations; and a plot of the same."""
    found = {data: result(f"samplers_{data}_cpu", "samplers") for data in ("digits", "mnist")}
    parts = [f"{distances(of)}\n\n{origin(of)}" for of in found.values() if of is not None]
    panels = [(data, name, n["distances"]) for data, of in found.items() if of for name, n in of["networks"].items()]
    if not panels:
        return "Not measured yet."
    figure = Figure(figsize=(4.2 * min(3, len(panels)), 3.6 * -(-len(panels) // 3)), layout="constrained")
    grid = figure.subplots(-(-len(panels) // 3), min(3, len(panels)), squeeze=False).ravel().tolist()
    for axes in grid[len(panels) :]:
        axes.remove()
    kinds = list(dict.fromkeys(sampler for *_, by_sampler in panels for sampler in by_sampler))
    for axes, (data, name, by_sampler) in zip(grid, panels, strict=False):
        for sampler, row in by_sampler.items():
            points = dict(sorted((int(n), statistics.mean(v)) for n, v in row.items() if v and None not in v))
            axes.plot(
                list(points), list(points.values()), marker=".", label=sampler, color=f"C{kinds.index(sampler)}"
            )
        axes.set(title=f"{data}: {name}", xscale="log", yscale="log", xlabel="evaluations per image")
        axes.set(ylabel="Fréchet distance")
        budgets = sorted({int(n) for row in by_sampler.values() for n, values in row.items() if values})
        axes.set_xticks(budgets, [f"{n:,}" for n in budgets])
        axes.xaxis.minorticks_off()
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}" if max(axes.get_ylim()) < 100 else "")
        axes.legend(fontsize="small")
    return "\n\n".join([drawn("samplers", figure, "Fréchet distance by evaluations per image"), *parts])


def distances(found: dict[str, Any]) -> str:
    """A table for each network: mean and standard deviation over the seeds."""
    texts = []
    for name, network in found["networks"].items():
        by_sampler = network["distances"]
        budgets = sorted({int(n) for row in by_sampler.values() for n, values in row.items() if values})
        rows = [[f"{n:,}", *(spread(row.get(str(n), [])) for row in by_sampler.values())] for n in budgets]
        steps = f"{network['network']['steps']:,} steps"
        title = f"{found['data']}, {name}: `classifier_frechet_{found['samples']}`, {steps}:"
        texts.append(f"{title}\n\n{table(['evaluations per image', *by_sampler], rows)}")
    return "\n\n".join(texts)


def spread(values: Sequence[float | None]) -> str:
    known = [v for v in values if v is not None]
    if len(known) < len(values):
        return "diverged"
    if not known:
        return ""
    deviation = f" ± {float(f'{statistics.stdev(known):.1g}'):g}" if len(known) > 1 else ""
    return f"{statistics.mean(known):.3g}{deviation}"


def quality() -> str:
    """What came of the same minutes on one core."""
    parts = []
    for data in ("mnist", "cifar10"):
        found = result(f"peers_quality_{data}_cpu", "peers")
        if found is None:
            continue
        whole, of = f"classifier_frechet_{found['samples']}", found["found"]
        budgets = sorted({minutes for by_minutes in of.values() for minutes in by_minutes}, key=float)
        rows = []
        for name, evaluations in found["evaluations"].items():
            runs = [list(of.get(name, {}).get(minutes, {}).values()) for minutes in budgets]
            distances = [spread([run[whole] for run in of_budget]) for of_budget in runs]
            steps = [f"{statistics.mean(run['steps'] for run in r):,.0f}" if r else "" for r in runs]
            if any(distances):
                rows.append([name, str(evaluations), *distances, ", ".join(filter(None, steps))])
        head = ["", "evaluations per image", *(f"{minutes} minutes" for minutes in budgets), "training steps"]
        parts.append(f"{data}: `{whole}`\n\n{table(head, rows)}\n\n{origin(found)}")
    return "\n\n".join(parts) or "Not measured yet."


def guidance() -> str:
    found = result("guidance_mnist_cpu", "guidance")
    if found is None:
        return "Not measured yet."
    by_g = found["by_guidance"]
    names = {
        key.rpartition("_")[0].removeprefix("classifier_"): key for key in next(iter(by_g.values())) if "_" in key
    }
    shown = {"accuracy": "accuracy", **{n: names[n] for n in ("precision", "recall", "frechet")}}
    rows = [[f"{float(g):g}", *(digits(row[key]) for key in shown.values())] for g, row in by_g.items()]
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    shares, distance = figure.subplots(1, 2)
    g = [float(value) for value in by_g]
    for name in ("accuracy", "precision", "recall"):
        shares.plot(g, [row[shown[name]] for row in by_g.values()], marker=".", label=name)
    shares.set(xlabel="guidance g", ylabel="share", ylim=(0, 1.02))
    shares.legend()
    distance.plot(g, [row[shown["frechet"]] for row in by_g.values()], marker=".")
    distance.set(xlabel="guidance g", ylabel="Fréchet distance", ylim=(0, None))
    picture = drawn("guidance", figure, "Certainty and variety by guidance")
    return "\n\n".join([picture, table(["g", *shown], rows), origin(found)])


def restoration() -> str:
    """What each method made of the same damaged images, and the PSNR of JPEG by quality."""
    return compared("restoration")


def specialists() -> str:
    """One network for all damages beside one for each."""
    return compared("specialists")


def compared(what: str) -> str:
    """The results of `benchmarks/restoration.py`, data set by data set."""
    parts = []
    for data in ("mnist", "cifar10", "celeba"):
        found = result(f"{what}_{data}_cpu", "restoration")
        if found is None:
            continue
        about = f"{data}, {found.get('filters', 16)} filters, {found['steps']:,} training steps, "
        about += f"{found['images']} held-out images, two samples of each"
        parts.append("\n\n".join([f"{about}.", *judged(found["damages"]), origin(found)]))
    return "\n\n".join(parts) or "Not measured yet."


def judged(damages: dict[str, dict[str, Any]]) -> list[str]:
    """A row for each damage and method; and a table of the PSNR of JPEG by quality."""
    of_all = [scores for found in damages.values() for scores in found["methods"].values()]
    columns = list(dict.fromkeys(column for scores in of_all for column in scores))

    def row(damage: str, name: str, scores: dict[str, float]) -> list[str]:
        shown = name.removesuffix(", sde_dpmpp_2m 20").replace("unconditional", "Algorithm 2")
        return [damage, shown, *(f"{scores[c]:.3g}" if c in scores else "" for c in columns)]

    rows, originals = [], {}
    for damage, found in damages.items():
        methods = dict(found["methods"])
        originals = methods.pop("originals")  # the same for every damage
        names = sorted(methods, key=lambda name: name == "regression")
        rows += [row(f"`{damage}`", name, methods[name]) for name in names]
    rows.append(row("", "originals", originals))
    tables = [table(["", "", *(f"`{column}`" for column in columns)], rows)]
    for quality in (found["by_quality"] for found in damages.values() if "by_quality" in found):
        bins = [
            ["{}–{}".format(*entry["quality"]), entry["count"], *(f"{value:.1f}" for value in entry["psnr"])]
            for entry in quality["bins"]
        ]
        tables.append(f"PSNR by the quality of JPEG:\n\n{table(['quality', 'images', *quality['methods']], bins)}")
    return tables


def damage() -> str:
    """A training step that damages its images, beside one that is given nothing."""

    def part(found: dict[str, Any], _: str) -> str:
        names = list(found["settings"][0]["variants"])[1:]
        rows = []
        for setting in found["settings"]:
            step, *damaged = setting["variants"].values()
            rows.append([setting_of(setting), seconds(step["seconds"]), *map(ratio, damaged)])
        return table(["", "a step without", *(f"`{name}`" for name in names)], rows)

    return on_each("damage", part)


def threads() -> str:
    """Two threads beside one, by what the cores do besides and how threads wait."""
    found = result("threads_cpu", "threads")
    if found is None:
        return "Not measured yet."
    ways = [(cores, policy) for cores in ("idle", "busy") for policy in found[cores]]
    rows = []
    for number, setting in enumerate(found["idle"]["spinning"]):
        for what in ("training", "sampling"):
            gains = [ratio(found[cores][policy][number][what]) for cores, policy in ways]
            rows.append([f"{what}, {setting_of(setting)}", f"{setting[what]['milliseconds']:.3g} ms", *gains])
    head = ["", "one thread", *(f"{cores}, {policy}" for cores, policy in ways)]
    line = origin(found).replace(f" {count(found['machine']['threads'], 'thread')} of", "")
    return f"{table(head, rows)}\n\n{line}"


def shortcuts() -> str:
    """Cheaper evaluations beside fewer."""
    found = result("shortcuts_cpu", "shortcuts")
    if found is None:
        return "Not measured yet."
    first, *_ = found["variants"].values()
    score = next(name for name in first if "frechet" in name)
    rows = [
        [name, ratio(entry) if "times_as_fast" in entry else "", f"{entry[score]:.3g}"]
        for name, entry in found["variants"].items()
    ]
    tables = table(["", "times as fast (quartiles)", f"`{score}`"], rows)
    eight = ratio(found["convolutions"]["8 bits"])
    return f"{tables}\n\nConvolutions alone, in 8 bits, times as fast as in float32: {eight}.\n\n{origin(found)}"


def likelihood() -> str:
    """Bits per dimension of networks, of a density with a known entropy, and the memory that they take."""
    parts = []
    for data in ("digits", "mnist"):
        found = result(f"likelihood_{data}_cpu", "likelihood")
        if found is None:
            continue
        rows = []
        for name, network in found["networks"].items():
            by_kind = [network[kind] for kind in ("likelihood", "bound")]
            held_out = [spread(of["bits"]) for of in by_kind]
            controls = [f"{of['controls'][c]:.3g}" for c in ("shuffled", "noise") for of in by_kind]
            about = [f"{network['steps']:,}", *held_out, f"{by_kind[0]['standard_error']:.1g}", *controls]
            rows.append([name, *about, f"{by_kind[0]['evaluations']:.0f}"])
        kinds = ["shuffled: flow", "bound", "noise: flow", "bound"]
        head = ["network", "steps", "flow", "bound", "standard error", *kinds, "evaluations"]
        images = next(iter(found["networks"].values()))["images"]
        parts.append(f"{data}, {images} held-out images:\n\n{table(head, rows)}\n\n{origin(found)}")
    if (of := result("likelihood_gaussian_cpu", "likelihood")) is not None:
        parts.append(
            f"The Gaussian, after {of['steps']:,} steps: {of['bits']:.3f} ± {of['standard_error']:.1g} bits per "
            f"dimension for {of['images']:,} held-out images. Its entropy is {of['entropy']:.3f}, so these are "
            f"{100 * of['too_many']:.2g} % too many.\n\n{origin(of)}"
        )
    if (of := result("likelihood_memory_cpu", "likelihood")) is not None:
        peaks = ", ".join(f"{mib:,.0f} MiB for {int(number):,}" for number, mib in of["mib"].items())
        parts.append(
            f"Peak memory of the whole process, by the number of images: {peaks}. That is "
            f"{of['kib_per_image']:.2g} KiB for each, or {of['mib_for_50000_more']:.0f} MiB for 50,000.\n\n"
            f"{origin(of)}"
        )
    return "\n\n".join(parts) or "Not measured yet."


def accuracy() -> str:
    def part(found: dict[str, Any], _: str) -> str:
        rows = []
        for stage, title in (("train", "training loss, the whole curve"), ("val", "held-out loss at the end")):
            of = found[stage]
            cells = [f"{100 * max(of[key]):.2g} %" for key in ("between_eager_and_fast", "between_seeds")]
            last = "; ".join(", ".join(f"{v:.4f}" for v in of["last"][speed]) for speed in ("eager", "fast"))
            rows.append([title, *cells, last])
        head = ["", "eager against fast, same seed", "seed against seed, eager", "final values: eager; fast"]
        runs = f"{found['steps']:,} steps of the demo, {found['filters']} filters, three seeds"
        text = f"{runs}; largest relative differences:"
        return f"{text}\n\n{table(head, rows)}"

    return on_each("accuracy", part)


def profiles() -> str:
    def part(found: dict[str, Any], _: str) -> str:
        parts = []
        for what, title in (("training", "A training step"), ("evaluation", "A step of Langevin dynamics")):
            of = found[what]
            variants, floor = of["variants"], of["floor"]
            rows: list[list[str]] = []
            for group in variants["eager"]["shares"]:
                entries = [v["shares"][group] * v["seconds"] for v in variants.values()]
                shares = [v["shares"][group] for v in variants.values()]
                if any(shares):
                    cells = [f"{seconds(t)} ({share:.0%})" for t, share in zip(entries, shares, strict=True)]
                    rows.append([group, *(cell if t else "none" for cell, t in zip(cells, entries, strict=True))])
            rows.append(["**total**", *(f"**{seconds(v['seconds'])}**" for v in variants.values())])
            rows.append(["speedup over plain (quartiles)", "", *(ratio(variants[v]) for v in ("eager", "fast"))])
            for key, name in (("arithmetic_seconds", "arithmetic"), ("memory_seconds", "memory")):
                numbers = ("float32", "float32", in_fast(found["machine"]))
                rows.append([f"floor: {name}", *(seconds(floor[n][key]) for n in numbers)])
            parts.append(f"{title}, {setting_of(of)}:\n\n{table(['', *variants], rows)}")
        limits = found["limits"]
        speeds = (
            f"{digits(limits['float32_gflops'])} GFLOP/s in float32, {digits(limits['bfloat16_gflops'])} in bfloat16"
        )
        reached = f"{speeds}; a copy reads and writes {digits(limits['copy_gb_per_s'])} GB/s."
        return "\n\n".join([*parts, f"A large matrix product reaches {reached}"])

    return on_each("profiles", part)


def data() -> str:
    def part(found: dict[str, Any], _: str) -> str:
        rows = []
        for setting in found["settings"]:
            plain, stream = (setting["variants"][name] for name in ("plain", "stream"))
            name = f"{setting['size']}×{setting['size']}×{setting['channels']}, {setting['kept']}"
            rows.append([name, *(f"{v['images_per_second']:,}" for v in (plain, stream)), ratio(stream)])
        head = ["", "plain, images/s", "stream, images/s", "speedup (quartiles)"]
        shares = [
            [setting_of(s), *(f"{s[speed][how]:.2%}" for speed in ("eager", "fast") for how in ("plain", "stream"))]
            for s in found["share_of_a_step"]
        ]
        titles = ["share of a training step", *(f"{s}: {h}" for s in ("eager", "fast") for h in ("plain", "stream"))]
        parts = [table(head, rows), *([table(titles, shares)] if shares else [])]
        return "\n\n".join([*parts, f"Batches of {found['batch']}; {found['note']}."])

    return on_each("data", part)


def evaluation() -> str:
    def part(found: dict[str, Any], _: str) -> str:
        rows = [
            [name, seconds(v["seconds"]), ratio(v), f"{v['frechet_distance']:.6g}", f"{v['relative_difference']:.1g}"]
            for name, v in found["variants"].items()
        ]
        head = ["", "time", "speedup (quartiles)", "Fréchet distance", "relative difference"]
        return f"{found['images']:,} images of {found['size']}×{found['size']}:\n\n{table(head, rows)}"

    return on_each("evaluation", part)


def growth() -> str:
    text = on_each("growth", growth_tables)
    kinds = {kind: RESULTS / f"growth_{kind}.json" for kind in KINDS}
    files = {kind: json.loads(path.read_text()) for kind, path in kinds.items() if path.exists()}
    if not files:
        return text
    curves = next(iter(files.values()))["curves"]
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for axes, (key, name) in zip(figure.subplots(1, len(curves), sharey=True), GROWTH.items(), strict=True):
        for kind, found in files.items():
            for speed, kind_of_call, entries in growth_curves(found["curves"][key]):
                values = [1e3 * entry["seconds_per_image"] for entry in entries]
                label = f"{KINDS[kind]}, {speed}, {CALLS[kind_of_call]}"
                axes.loglog(found["curves"][key]["values"], values, marker="o", label=label)
        axes.set_xticks(curves[key]["values"], [str(value) for value in curves[key]["values"]])
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.minorticks_off()
        axes.set_xlabel(name)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("milliseconds per image")
    figure.axes[0].legend(fontsize="small")
    caption = "Milliseconds per image by batch size, resolution and number of levels"
    return f"{text}\n\n{drawn('growth', figure, caption)}"


GROWTH = {"batch": "batch size", "size": "pixels per side", "levels": "noise levels"}
CALLS = {"forward": "forward", "step": "training step"}


def growth_curves(curve: dict[str, Any]) -> list[tuple[str, str, list[dict[str, Any]]]]:
    return [(speed, call, curve[speed][call]) for speed in ("eager", "fast") if speed in curve for call in CALLS]


def growth_tables(found: dict[str, Any], kind: str) -> str:
    parts = []
    for key, name in GROWTH.items():
        curve = found["curves"][key]
        rows = []
        for speed, call, entries in growth_curves(curve):
            cells = []
            batches = curve["values"] if key == "batch" else [1] * len(entries)
            for batch, entry in zip(batches, entries, strict=True):
                # The speedup of a call over the first point's, as a ratio of times per image.
                low, high = (batches[0] / batch / quartile for quartile in reversed(entry["quartiles"]))
                cell = f"{seconds(entry['seconds_per_image'])} ({low:.2f} to {high:.2f})"
                cells.append(cell + (f", {entry['peak_gib']:.2f} GiB" if "peak_gib" in entry else ""))
            rows.append([f"{speed}, {CALLS[call]}", *cells])
        rows.append(["parameters", *(f"{parameters:,}" for parameters in curve["parameters"])])
        fixed = ", ".join(f"{k} {v}" for k, v in curve["fixed"].items())
        parts.append(f"By {name} ({fixed}):\n\n{table([name, *map(str, curve['values'])], rows)}")
    note = (
        f"NCSN with {found['filters']} filters. Times are per image; in brackets are the quartiles of their ratio to "
        f"the first column. `speed=fast`: {found['fast']}."
    )
    return "\n\n".join([*parts, note])


def devices() -> str:
    found = result("devices_cpu", "devices")
    if found is None:
        return f"{NOT_MEASURED['cpu']}\n\n{NOT_MEASURED['cuda']}"
    measured = found["measured"]
    rows = []
    for what in ("training", "sampling"):
        of = measured[what]
        row = [what]
        row += [digits(of[f"images_per_second_{n}"]) if f"images_per_second_{n}" in of else "" for n in NAMES]
        row += [
            f"{of[key]:.2f} ({of[f'{key}_quartiles'][0]:.2f} to {of[f'{key}_quartiles'][1]:.2f})" if key in of else ""
            for key in ("efficiency", "ceiling")
        ]
        rows.append(row)
    head = [
        "images/s",
        *NAMES.values(),
        "efficiency of two processes (quartiles)",
        "ceiling: two separate runs (quartiles)",
    ]
    text = (
        f"`{measured['what'].split(',')[0]}`, {measured['filters']} filters; per process: one thread, training with "
        f"batches of {measured['batch_per_process']}, sampling {measured['chains_per_process']} chains at a time:"
    )
    line = origin(found).replace(f", {count(found['machine']['threads'], 'thread')} of", ", one thread per process,")
    return f"{text}\n\n{table(head, rows)}\n\n{line}\n\n{NOT_MEASURED['cuda']}"


NAMES = {"one": "one process", "two": "two processes", "pair": "two separate runs"}


def predicted() -> str:
    found = result("devices_cpu", "devices")
    if found is None:
        return "Not calculated yet."
    calculated = found["calculated"]
    networks = calculated["networks"]
    facts = [
        [
            of["network"],
            f"{of['parameters'] / 1e6:.1f} million",
            digits(of["gflop_per_image"]),
            of["images_per_gpu"],
            seconds(of["compute_seconds"]),
        ]
        for of in networks
    ]
    head = ["network", "parameters", "GFLOP per image", "images per GPU", "arithmetic per step"]
    rows = []
    for k, first in enumerate(networks[0]["by_gpus"]):
        row = [f"{first['gpus']:,}"]
        for of in networks:
            for how in WAYS:
                entry = of["by_gpus"][k][how]
                row.append(f"{entry['efficiency_without_overlap']:.1%}, {entry['efficiency_with_overlap']:.1%}")
        rows.append(row)
    titles = ["GPUs", *(f"{of['network']}: {name}" for of in networks for name in WAYS.values())]
    assumptions = [[f"`{name}`", f"{value:.4g}"] for name, value in calculated["assumptions"].items()]
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for axes, of in zip(figure.subplots(1, len(networks), sharey=True), networks, strict=True):
        gpus = [row["gpus"] for row in of["by_gpus"]]
        for how, colour in zip(WAYS, ("tab:blue", "tab:orange"), strict=True):
            for overlap, style in (("without", "--"), ("with", "-")):
                values = [row[how][f"efficiency_{overlap}_overlap"] for row in of["by_gpus"]]
                label = f"{WAYS[how]}, {overlap} overlap"
                axes.semilogx(gpus, values, style, color=colour, marker=".", label=label)
        axes.set_xticks(gpus, [str(n) for n in gpus], fontsize="small")
        axes.minorticks_off()
        axes.set(xlabel="GPUs", title=of["network"], ylim=(0, 1.02))
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("efficiency (calculated)")
    figure.axes[0].legend(fontsize="small")
    parts = [
        table(head, facts),
        "Efficiency without and with overlap, calculated, not measured:",
        table(titles, rows),
        drawn("devices", figure, "Calculated efficiency by the number of GPUs"),
        table(["assumption", "value"], assumptions),
        f"*Calculated; parameters and operations counted with torch {found['machine']['torch']} at revision "
        f"{found['machine']['revision']}.*",
    ]
    return "\n\n".join(parts)


WAYS = {"ring": "one ring", "two_levels": "two levels"}


def memory() -> str:
    found = result("memory", "memory")
    if found is None:
        return "Not computed yet."
    rows = [
        [f"`{name}`", f"{c['gib_without_images']:.2f}", f"{c['gib_per_image']:.2f}", c["images_on_24_gib"]]
        for name, c in found["cases"].items()
    ]
    head = ["", "GiB without images", "GiB per image", "images on 24 GiB"]
    what = found["what"][0].upper() + found["what"][1:]
    return f"{what}:\n\n{table(head, rows)}\n\n*Computed, without running it, with torch {found['torch']}.*"


def jvp() -> str:
    found = result("jvp", "jvp --out benchmarks/results/jvp.json")
    if found is None:
        return "Not measured yet."
    rows = [
        [name, f"{c['forward_ms']:,.1f} ms", f"{c['reverse_ms']:,.1f} ms", f"{c['reverse_over_forward']:.2f}"]
        for name, c in found["cases"].items()
    ]
    head = ["", "forward mode", "reverse mode", "reverse over forward"]
    threads, version = count(found["threads"], "thread"), found["versions"]["torch"]
    line = f"*{found['machine']}, {threads}; torch {version}; neither revision nor quartiles were recorded.*"
    return f"{table(head, rows)}\n\n{line}"


def drawn(name: str, figure: Figure, caption: str) -> str:
    """Saves a plot and returns the Markdown that shows it."""
    path = IMAGES / f"performance_{name}.png"
    with atomically(path) as partial:
        figure.savefig(partial, format="png", dpi=110)
    print(path)
    return f"![{caption}](images/{path.name})"


PARTS: dict[str, Callable[[], str]] = {
    part.__name__: part
    for part in (
        training,
        sampling,
        ratios,
        peers,
        accuracy,
        evaluations,
        samplers,
        guidance,
        quality,
        restoration,
        specialists,
        damage,
        likelihood,
        profiles,
        data,
        evaluation,
        growth,
        devices,
        threads,
        shortcuts,
        predicted,
        memory,
        jvp,
        startup,
    )
}


def main() -> None:
    texts = {document: document.read_text() for document in DOCUMENTS}
    for name, part in PARTS.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        document = next((document for document, text in texts.items() if start in text and end in text), None)
        if document is None:
            print(f"no document has a part <!-- {name} -->; skipped", file=sys.stderr)
            continue
        try:
            content = part()
        except KeyError as error:
            print(f"{name}: left as it was; its results have no {error}, run its benchmark again", file=sys.stderr)
            continue
        before, rest = texts[document].split(start)
        texts[document] = f"{before}{start}\n{content}\n\n{end}{rest.split(end)[1]}"
    for document, text in texts.items():
        write_text(document, text)
        print(document)


if __name__ == "__main__":
    main()
