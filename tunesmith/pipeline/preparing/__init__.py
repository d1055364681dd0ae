"""The parts of prepare: rows, labels, texts, and the page about the data."""
