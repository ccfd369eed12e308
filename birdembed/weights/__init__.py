"""Tensors and weights in files."""
