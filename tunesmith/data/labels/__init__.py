"""The label of each row: one spelling for each, and one label out of several raters' votes. Ties
are never settled silently. Does not know what the texts say, nor what becomes of rows without a
label.
"""
