"""The weights of a run: where they come from and which of them are kept."""
