"""Which column of a table is what, and how several of them become one text. Told by names and by
what is in the cells; what the user names goes before what is guessed. Does not know what labels
mean, nor which rows are kept.
"""
