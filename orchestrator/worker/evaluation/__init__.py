"""Metrics, and the pass over the data that feeds them."""
