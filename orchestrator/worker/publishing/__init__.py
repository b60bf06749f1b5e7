"""What is published beside the weights: the model card, the metrics and the lineage."""
