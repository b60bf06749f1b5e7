"""From tables of rows to the batches a rank trains on."""
