"""Results as text that people read."""
