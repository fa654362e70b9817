"""The report of a run: one file that says what was trained, how it went, and what came of it."""

from ncsn.report.page import refresh_report, write_report

__all__ = ["refresh_report", "write_report"]
