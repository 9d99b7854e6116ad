"""Results for people: as text, as one page that shows all of a policy, and as pictures.

Nothing is computed here that a program could not get from the results themselves.
"""

from .page import ReportData, report_data, weight_front, write_report

__all__ = ["ReportData", "report_data", "weight_front", "write_report"]
