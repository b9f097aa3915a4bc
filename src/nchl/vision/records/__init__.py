"""What an experiment writes down and shows: run folder, summary, pictures, progress."""
