"""The run of one job: observe, decide (pure), apply."""
