"""Reports as pages: templates, charts."""
