"""What the server remembers: keys, files, jobs and models in a database, contents in blobs.

The only package that knows SQL. Rows come out as frozen dataclasses (`rows`), never as wire shapes.
"""
