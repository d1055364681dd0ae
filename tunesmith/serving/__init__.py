"""Tuned models answering: batches of concurrent requests, several models in memory.

Knows torch and model folders. Does not know HTTP, jobs, the database, or how models are made.
"""
