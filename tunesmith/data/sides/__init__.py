"""On which side of the split each row is, and how often a label is seen in training. Chance comes
from what a row says, not from where it stands. Does not know what makes a group, or which rows
should not be there.
"""
