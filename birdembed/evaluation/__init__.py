"""Evaluation of embeddings and classifiers."""
