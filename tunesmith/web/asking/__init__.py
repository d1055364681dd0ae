"""Asking models from the playground.

request    what is asked, as the body of a request to the API
labels     how probable each label is
snippets   the same request as code for other programs
nearby     the training rows that are most like a text
"""
