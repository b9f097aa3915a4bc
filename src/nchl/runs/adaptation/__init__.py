"""A run's result under perturbations, beside intact twins."""
