"""The documentation as a program reads it: pages, passages, and answers to questions about them.

Knows: Markdown, words, vectors of texts that are handed to it. Does not know: torch, the network,
which model makes the vectors, who asks.
"""
