"""Conversations in OpenAI's chat format: recognised in a table, made of its rows, checked, written
and read. Does not know tokens, models, or who asks.
"""
