"""Evaluating models that write."""
