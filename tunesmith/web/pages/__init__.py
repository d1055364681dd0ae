"""The pages, a module each. Importing `ALL` registers them."""

ALL = (
    "runs", "new_run", "run", "result", "compare", "labelling", "playground", "batches", "models",
    "model", "data", "data_set", "jobs", "job", "keys", "storage",
)  # fmt: skip
