"""One estimator a file: what it predicts or measures, its source, and how it reads one batch."""
