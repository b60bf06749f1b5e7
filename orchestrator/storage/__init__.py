"""Bytes by URL: object stores, checkpoints with manifests, the model registry, a local cache.

Both planes use it; it knows records and errors, and nothing of control or worker.
"""
