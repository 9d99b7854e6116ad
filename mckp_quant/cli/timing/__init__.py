"""The command that times a network: it writes the costs that 'solve' reads as a latency budget."""
