"""What exports take on disk."""
