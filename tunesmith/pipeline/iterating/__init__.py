"""The parts of iterate: trials, the search for settings, what it may spend."""
