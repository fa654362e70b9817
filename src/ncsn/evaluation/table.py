"""The record of an evaluation as a table to read."""

from pathlib import Path
from typing import Any

MOST_CLASSES = 40  # in a table


def table(record: dict[str, Any], *files: Path) -> str:
    """The scores of a record, with what they depend on, and the files that it lies in."""
    places = "\n".join(f"  {file}" for file in files)
    if "restoration" in record:
        return _of_restored(record, places)
    scores = record["scores"]
    width = max(map(len, scores))
    lines = [""]
    for name, value in scores.items():
        if not name.endswith("_std"):
            spread = f" ± {scores[name + '_std']:.3g}" if f"{name}_std" in scores else ""
            lines.append(f"  {name.ljust(width)}  {value:.5g}{spread}")
    if "likelihood" in record:
        lines += _of_likelihood(record["likelihood"])
    if "bound" in record:
        lines += _of_bound(record["bound"])
    if "features" not in record:
        return "\n".join([*lines, "", places])
    reference = record["reference"]
    of = reference["path"] if "path" in reference else f"{reference['name']} {reference['split']}"
    if by_class := record.get("by_class"):
        lines += _by_class(by_class)
    lines.append(f"\n  features   {_network(record['features'])}")
    lines.append(f"  reference  {reference['count']} images, {of}")
    if record["sampler"]:
        denoise = {True: ", denoised", False: ", not denoised", None: ""}[record["denoise"]]
        sampler = record["sampler"]["_target_"].rpartition(".")[2]
        evaluations = record["network_evaluations"]
        cost = f", {evaluations} network evaluations per image" if evaluations else ""
        lines.append(f"  samples    {sampler}{denoise}, {record['checkpoint']['weights']} weights{cost}")
    if "held_out_against" in record:
        ours, theirs = record["held_out"], record["held_out_against"]
        lines.append(f"\n  2·loss/D on held-out images    this      {theirs['checkpoint']}")
        for level in zip(ours["sigmas"], *(x["twice_the_loss_per_dim"] for x in (ours, theirs)), strict=True):
            lines.append("  σ = {:<24.4g} {:<9.5f} {:<9.5f}".format(*level))
    return "\n".join([*lines, "", places])


def _of_likelihood(found: dict[str, Any]) -> list[str]:
    """What bits per dimension are of, and how well known; a row for each class, unless there are too many."""
    known = "" if found["standard_error"] is None else f"standard error {found['standard_error']:.2g}, "
    error = f", error of the solver {found['solver_error']:.1g}" if "solver_error" in found else ""
    lines = [
        f"\n  bits_per_dim  {known}{found['images']} images of {found['of']}, {found['dimensions']} dimensions,",
        f"                {found['evaluations']:.4g} evaluations per image{error}",
    ]
    if sets := found.get("sets"):
        columns = {key: [s[key] for s in sets] for key in ("of", "images", "bits_per_dim", "standard_error")}
        lines += ["", *_bits("images of", *columns.values())]
    by_class = found.get("by_class")
    if by_class and len(by_class["classes"]) <= MOST_CLASSES:
        columns = {key: by_class[key] for key in ("classes", "counts", "bits_per_dim", "standard_error")}
        lines += ["", *_bits("class", *columns.values())]
    return lines


def _bits(
    corner: str, rows: list[str], counts: list[int], bits: list[float], errors: list[float | None]
) -> list[str]:
    values = [
        [str(count), f"{mean:.4g}", "–" if error is None else f"{error:.2g}"]
        for count, mean, error in zip(counts, bits, errors, strict=True)
    ]
    return _aligned(rows, ["images", "bits_per_dim", "standard error"], values, corner)


def _of_bound(found: dict[str, Any]) -> list[str]:
    """What the bound is of, and its terms; a row for each set of images, where there are several."""
    known = "" if found["standard_error"] is None else f"standard error {found['standard_error']:.2g}, "
    lines = [
        f"\n  elbo_bits_per_dim  {known}{found['images']} images of {found['of']}, {found['dimensions']} dimensions,",
        f"                     {found['evaluations']:.4g} evaluations per image",
        "",
    ]
    sets, columns = found.get("sets", [found]), ["prior", "diffusion", "decoder"]
    columns = (["elbo_bits_per_dim"] if "sets" in found else []) + columns
    values = [[f"{each[name]:.4g}" for name in columns] for each in sets]
    return [*lines, *_aligned([each["of"] for each in sets], columns, values, "images of")]


def _of_restored(record: dict[str, Any], places: str) -> str:
    """A row for each method, a column for each score; where images went through JPEG, one for each few qualities."""
    found, features = record["restoration"], record["features"]
    methods = found["methods"]
    columns = list(dict.fromkeys(name for method in methods for name in method["scores"]))
    values = [
        [f"{round(method['scores'][name], 6):.4g}" if name in method["scores"] else "–" for name in columns]
        + [str(method.get("network_evaluations") or "–")]
        for method in methods
    ]
    lines = ["", *_aligned([method["name"] for method in methods], [*columns, "evaluations"], values)]
    if bins := found.get("by_quality"):
        names = ["{}–{}, {} images".format(*entry["quality"], entry["count"]) for entry in bins]
        by_method = [[f"{value:.4g}" for value in entry["psnr"]] for entry in bins]
        heads = [method["name"] for method in methods[: len(bins[0]["psnr"])]]
        lines += ["", *_aligned(names, heads, by_method, "psnr by quality")]
    lines.append(f"\n  features   {_network(features) if features else 'none'}")
    images, each = f"{found['num_images']} of {record['reference']['images']}", found["samples_per_image"]
    lines.append(f"  images     {images}, {found['damage']}, {each} samples of each")
    return "\n".join([*lines, "", places])


def _network(features: dict[str, Any]) -> str:
    accuracy = f", {features['accuracy']:.2%} right on held-out images" if "accuracy" in features else ""
    return f"{features['name']} ({features['checksum'][:8]}{accuracy})"


def _aligned(rows: list[str], columns: list[str], values: list[list[str]], corner: str = "") -> list[str]:
    """The lines of a table: names at the left, values below the right ends of their columns."""
    width = max(map(len, [*rows, corner]))
    widths = [max(map(len, column)) for column in zip(columns, *values, strict=True)]
    lines = [(corner, columns), *zip(rows, values, strict=True)]
    return [
        f"  {name.ljust(width)}" + "".join(f"  {cell.rjust(w)}" for cell, w in zip(cells, widths, strict=True))
        for name, cells in lines
    ]


def _by_class(found: dict[str, Any]) -> list[str]:
    """A row for each class, unless there are too many to be read."""
    names, columns = found["classes"], [key for key in ("accuracy", "frechet") if key in found]
    if not columns or len(names) > MOST_CLASSES:
        return []
    width = max(map(len, [*names, "class"]))
    lines = [f"\n  {'class'.ljust(width)}  samples" + "".join(f"  {key:>8}" for key in columns)]
    for row, name in enumerate(names):
        values = ["–" if found[key][row] is None else f"{found[key][row]:.4g}" for key in columns]
        lines.append(
            f"  {name.ljust(width)}  {found['counts'][row]:>7}" + "".join(f"  {value:>8}" for value in values)
        )
    return lines
