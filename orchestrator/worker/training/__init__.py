"""The training function of a gang, and the ways to start it."""
