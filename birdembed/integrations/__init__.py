"""Bridges to other tools, each behind its own extra."""
