"""The page of a run, one HTML file with everything in it; behind `nchl report`."""

from nchl.report.page.document import write

__all__ = ["write"]
