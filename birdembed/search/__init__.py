"""Exact cosine search."""
