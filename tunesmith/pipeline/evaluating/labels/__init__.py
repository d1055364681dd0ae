"""Evaluating models that answer with a label."""
