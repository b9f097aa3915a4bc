"""Rules on convolutions: the connections of a kernel element, and how they share its change."""
