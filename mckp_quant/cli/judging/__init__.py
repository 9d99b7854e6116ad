"""The command that judges a policy by running the network under it, beside others: validate."""
