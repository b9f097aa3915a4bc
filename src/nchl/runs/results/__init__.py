"""Results of runs: loaded, evaluated, followed step by step, and shown."""
