"""How long tests of pages wait, in milliseconds: they run beside other tests."""

PAGE = 30_000
RUN = 400_000
"""For a small run to come to its end."""
