"""The run folder: what a run was asked to do, what it has reached, and how to go on from there."""
