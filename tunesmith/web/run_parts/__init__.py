"""The parts of the page of one run, one module a part."""
