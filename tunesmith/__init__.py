"""Tunesmith: from a table of text to a fine-tuned, evaluated and deployed language model."""

__version__ = "0.1.0"
__all__ = ["__version__"]
