"""The phases of an experiment and what their steps compute."""
