"""Labelled images and training batches."""
