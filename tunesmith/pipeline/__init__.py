"""The verbs, and the run that strings them together."""
