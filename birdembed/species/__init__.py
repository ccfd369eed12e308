"""Identify species, or say that none of the known ones matches."""
