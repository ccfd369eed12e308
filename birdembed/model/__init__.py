"""Models that embed, classify and identify images."""
