"""The searches of the core that reduction leaves: under one budget, and under several."""
