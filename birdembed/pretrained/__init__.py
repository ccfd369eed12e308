"""Model folders, the hub and the names of models."""
