"""Replies of models that write: whole, or in pieces as they are written.

A draft is one reply while it grows; `live` sends it, and stops the writing when the client leaves.
Does not know: how a model writes.
"""
