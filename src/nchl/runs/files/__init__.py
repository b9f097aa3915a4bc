"""Safe files: no fault loses the last good state, and no content can execute."""
