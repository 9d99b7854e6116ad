"""One export target a file: what it takes, how it writes, and how its own runtime reads the artefact back."""
