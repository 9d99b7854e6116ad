"""The truth about a policy: how sure a table is of it, what the network says of it, and how to get better."""
