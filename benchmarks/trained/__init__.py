"""Networks that are trained for the studies, because none ships with the package."""
