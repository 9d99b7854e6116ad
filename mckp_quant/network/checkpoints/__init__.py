"""What a network is when it is stored: its tensors, and the names that checkpoints have for them."""
