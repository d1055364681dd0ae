"""Causal models that answer: many texts written at once, token by token."""
