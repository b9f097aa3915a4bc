"""The settings of a run: options, values and presets."""
