"""One worker for each tool: it runs in the environment of the tool, and imports nothing that needs another."""
