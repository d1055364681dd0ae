"""Tuning causal language models: on answers or on pairs of them, whole or by an adapter.

Does not know: processes, servers, who reads the events.
"""
