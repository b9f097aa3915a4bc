"""One lifetime recorded step by step: weights, activations, and the terms of the rule."""

from nchl.report.microscope.recording import Microscope

__all__ = ["Microscope"]
