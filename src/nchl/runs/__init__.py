"""Runs: their settings, their folders, the search that they make, and their results."""
