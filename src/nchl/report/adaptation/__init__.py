"""Results of `nchl adapt`: recovery, tables, pictures, and a section of a run's page."""

from nchl.report.adaptation.study import Study, adapt

__all__ = ["Study", "adapt"]
