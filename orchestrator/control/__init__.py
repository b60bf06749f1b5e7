"""The control plane: decides and remembers. It never imports torch, transformers or the worker."""
