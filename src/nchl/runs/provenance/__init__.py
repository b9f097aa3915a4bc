"""Machine, environment and versions of a run, and changes of these since."""
