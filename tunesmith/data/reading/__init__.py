"""Bytes to a table: from a file, a folder or a URL, in any format, through one door (`readers`).
Every value comes out as text, every row with the line it starts on. Does not know which column is
the text or the label.
"""
