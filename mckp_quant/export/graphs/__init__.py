"""ONNX graphs: the network that is traced, the graph, and where integers stand in it."""
