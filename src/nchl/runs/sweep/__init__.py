"""Grids of runs: their settings, their folders and their processes."""
