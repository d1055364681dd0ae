"""Fine-tuning as a process of its own: a job folder in, a model folder out.

`python -m tunesmith.training JOB_DIR` knows torch and files. It does not know the server, the
database, or who will use the model.
"""
