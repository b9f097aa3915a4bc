"""Films of a run's result; behind `nchl film`."""

from nchl.report.film.make import film

__all__ = ["film"]
