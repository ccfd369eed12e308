"""Training: fine-tuning of a model on labelled images."""
