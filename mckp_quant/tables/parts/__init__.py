"""Tables of a part of the batches, which several processes measure and `merge` puts together."""
