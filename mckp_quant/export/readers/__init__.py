"""One kind of artefact a file: the formats and weights that it holds, read without running anything in it."""
