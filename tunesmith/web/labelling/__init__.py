"""Labelling tables by hand: what its pages work with.

tasks       a task from the file to its rows, and its end
reading     the process that reads the file (`python -m tunesmith.web.labelling.reading`)
workplace   one person's way through the rows
helper      a model that says which rows are hard, asked in the background
agreement   how alike the votes are
figures     a task's figures, counted no oftener than needs be
export      the labelled table, as a file or as a new run
"""
