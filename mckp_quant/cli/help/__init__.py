"""What every command says of itself: a line for the list of commands, and examples to copy."""
