"""Evals: models and their answers, tested item by item."""
