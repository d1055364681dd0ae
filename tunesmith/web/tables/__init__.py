"""Tables of any size, row by row: an index says where rows begin, and no file is read whole.

form       what an index says, and the rows that are read by it
scan       making an index, and looking for words; in a process of its own (`__main__`)
shelf      indexes as the server sees them: where they are kept, which are being made
"""
