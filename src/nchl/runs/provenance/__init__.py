"""With which machine, environment and version of nchl a run was made, and whether these have changed since."""
