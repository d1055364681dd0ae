"""Tuning a classifier."""
