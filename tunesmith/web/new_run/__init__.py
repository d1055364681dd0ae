"""The parts of the page on which a run is filled in, one module a part."""
