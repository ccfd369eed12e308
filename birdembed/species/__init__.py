"""Identification of known species, and of pictures that show none of them."""
