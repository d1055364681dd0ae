"""Base and tuned models as torch modules: load, run, save. Knows no jobs, no HTTP, no training."""
