"""The parts of evaluate."""
