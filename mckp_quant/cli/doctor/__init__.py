"""The command that looks at the machine: what works here, why the rest does not, and what to type: doctor."""
