"""What finished runs have left, and what people decide about its rows.

Reading is done by a process of its own (`python -m tunesmith.web.results`, asked by `asking`), so
that no table is ever in the server's memory. Does not know: how anything is shown.
"""
