"""Which texts say the same, exactly or nearly, and the fingerprint of a text that this and all
chance rest on. Does not know columns, files, or how rows are split.
"""
