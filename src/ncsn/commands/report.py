"""`python -m ncsn.report runs/…`: writes a run's report.html anew, from what is in its folder."""

import argparse
import sys
from pathlib import Path

from ncsn.errors import UserError
from ncsn.report import write_report


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ncsn.report", description="Writes the report.html of runs.")
    parser.add_argument("run", type=Path, nargs="+", help="a run's folder")
    for run in parser.parse_args().run:
        try:
            print(write_report(run))
        except UserError as error:
            sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
