"""Comparing runs: groups, scores, statistics, tables; behind `nchl compare` and `nchl bench search`."""

from nchl.report.compare.comparison import Comparison, Pair, Scored, compare
from nchl.report.compare.scores import SCORES

__all__ = ["SCORES", "Comparison", "Pair", "Scored", "compare"]
