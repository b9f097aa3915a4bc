"""Networks that users bring: templates of populations, copies, and what a run records of them."""
