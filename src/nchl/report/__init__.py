"""Presents results: films, the page of a run, comparisons; behind `nchl film`, `nchl report` and `nchl compare`."""
