"""Using published models."""
