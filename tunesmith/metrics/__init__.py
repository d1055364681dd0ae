"""Scores of answers, their intervals, and the cheap baselines they are compared with."""
