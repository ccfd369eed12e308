"""Model folders, the hub, and model names."""
