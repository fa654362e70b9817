"""`ncsn report runs/…`: writes the report.html of runs anew, from what is in their folders."""

from pathlib import Path

from ncsn.commands.ending import Parser


def report(arguments: list[str]) -> None:
    """Writes the reports.

    Raises:
        UserError: a folder is not that of a run.
    """
    parser = Parser("ncsn report", description="Writes the report.html of runs anew.")
    parser.add_argument("run", type=Path, nargs="+", help="a run's folder")
    runs = parser.parse_args(arguments).run
    from ncsn.report import write_report

    for run in runs:
        print(write_report(run))
