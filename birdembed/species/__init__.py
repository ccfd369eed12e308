"""Identification of species, known and unknown."""
