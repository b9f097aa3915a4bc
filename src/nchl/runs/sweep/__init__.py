"""Grids of runs: their files, folders and processes."""
