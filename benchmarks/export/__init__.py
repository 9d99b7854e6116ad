"""What artefacts take and give when their runtimes run them."""
