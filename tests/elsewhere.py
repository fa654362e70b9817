"""What tests have other processes do, in a module that those can import."""

from pathlib import Path

from ncsn.files import one_process_at_a_time


def held_elsewhere(path: Path, sent: object) -> None:
    with one_process_at_a_time(path, wait=False) as held:
        sent.put(held)  # type: ignore[attr-defined]
