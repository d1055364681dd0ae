"""The parts of the labelling pages, one module a part."""
