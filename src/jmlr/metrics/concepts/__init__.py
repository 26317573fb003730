"""What counts as a medical concept, for metrics that compare texts by their concepts."""
