"""Answers for all rows of a table, through the Batches API.

table  a table as requests, and answers as a table again; in a process of its own
work   what the server does with a table from the moment it is dropped
"""
