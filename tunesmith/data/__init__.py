"""Rows in, examples out: reading, cleaning, labels, votes, duplicates, balance, split, receipt."""
