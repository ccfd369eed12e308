"""Convert images to network input."""
