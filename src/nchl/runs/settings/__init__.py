"""What a run is asked to do: its options, their values and presets."""
