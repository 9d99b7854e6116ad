"""Keys and values of every attention of a network, where they are multiplied."""
