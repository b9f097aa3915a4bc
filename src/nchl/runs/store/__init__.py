"""The run folder: its files, their formats, and approval of the code in them."""
