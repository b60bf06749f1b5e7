"""Base models on their way in, trained ones on their way out."""
