"""The model, which ties everything together."""
