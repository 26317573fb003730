"""Training: the joint step, the loop around it, its state on disk, and pre-training."""
