"""The verbs: a module for each, with its options, what it runs and the text that it prints; see `nchl.cli`."""
