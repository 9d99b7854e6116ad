"""How much each layer suffers from each number format: the table, and the estimators that fill it."""
