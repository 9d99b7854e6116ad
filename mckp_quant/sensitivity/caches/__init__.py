"""The KV cache as layers: keys and values of every attention, with formats of their own."""
