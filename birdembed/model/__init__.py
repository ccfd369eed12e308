"""Models, which embed, classify and identify images."""
