"""How large files are: of what was written, and of what would be."""
