"""Groups of options that many commands share: what the outputs of a network mean, and pictures of results."""
