"""A session of a run: from its beginning, or its newest checkpoint, to its end or a signal."""
