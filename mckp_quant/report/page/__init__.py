"""The report: everything that is known of a policy on one page, as HTML, text, Markdown or JSON.

`report_data` gathers what it shows; the forms are made from that alone, so they say the same.
"""

from .data import ReportData
from .gathering import report_data
from .worth import weight_front
from .writing import write_report

__all__ = ["ReportData", "report_data", "weight_front", "write_report"]
