"""Files, fine-tuning jobs, models and chat completions over HTTP, in OpenAI's shapes.

The only package that knows HTTP. Knows the store, the worker and the serving pool; does not know
torch, or how a model is trained.
"""
