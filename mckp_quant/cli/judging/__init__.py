"""The command that judges a policy on the network: validate."""
