"""Results as text that people read; every function takes a result and gives text or plain data.

Nothing is computed here that a program could not get from the result itself.
"""

from .page import ReportData, report_data, weight_front, write_report

__all__ = ["ReportData", "report_data", "weight_front", "write_report"]
