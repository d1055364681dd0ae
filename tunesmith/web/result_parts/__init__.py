"""The parts of the page of a run's result, one module a part."""
