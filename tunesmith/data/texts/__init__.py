"""What is done to a text whatever it is about: cleaned, searched for what should stay private,
its language guessed. The cleaning and masking of training are those of serving. Knows no columns,
labels or rows.
"""
