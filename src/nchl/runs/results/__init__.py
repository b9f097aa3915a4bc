"""What a run has found: loaded, evaluated, followed and put on a stage."""
