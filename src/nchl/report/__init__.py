"""Looking at runs: films, a page, comparisons. `nchl film`, `nchl report` and `nchl compare` are made of these."""
