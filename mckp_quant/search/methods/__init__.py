"""One published search a file: its source, its options, and what it does with the evaluations it is given."""
