"""Rows in, examples out: a package for each kind of step, and the account of every row's fate."""
