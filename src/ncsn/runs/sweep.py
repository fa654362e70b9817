"""The folder of a sweep: folders of runs, and one table of what came of them."""

import csv
from pathlib import Path

from ncsn.files import atomically, one_process_at_a_time, read_record


def write_sweep_table(sweep: Path) -> Path:
    """Writes `results.csv`: one row per job, with its overrides and how it ended."""
    with one_process_at_a_time(sweep / "results.csv"):
        return _write(sweep)


def _write(sweep: Path) -> Path:
    paths = sorted(sweep.glob("*/result.json"))
    results = [(path.parent.name, read_record(path) or {"status": "damaged"}) for path in paths]
    rows = [
        {"job": job, "status": r.get("status")}
        | r.get("overrides", {})
        | r.get("metrics", {})
        | {"error": r.get("error", "")}
        for job, r in results
    ]
    columns = [*dict.fromkeys(key for row in rows for key in row if key != "error"), "error"]
    path = sweep / "results.csv"
    with atomically(path) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def print_sweep(sweep: Path) -> None:
    """Prints a sweep's table, the columns that differ between jobs, and what failed."""
    path = sweep / "results.csv"
    if not path.is_file():
        return
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    failed = [row for row in rows if row["status"] != "finished"]
    shown = [c for c in rows[0] if c in ("status", "val/loss") or len({row[c] for row in rows}) > 1]
    shown = [c for c in shown if c not in ("job", "error") and "loss_" not in c]
    width = {c: max(len(c), *(len(_short(row[c])) for row in rows)) for c in shown}
    print("\n" + "  ".join(c.ljust(width[c]) for c in shown))
    for row in rows:
        print("  ".join(_short(row[c]).ljust(width[c]) for c in shown))
    print(f"{len(rows) - len(failed)} of {len(rows)} jobs finished; the whole table: {path}")
    for row in failed:
        print(f"failed: {sweep / row['job']}: {row['error']}")


def _short(value: str) -> str:
    try:
        return f"{float(value):.6g}"
    except ValueError:
        return value
