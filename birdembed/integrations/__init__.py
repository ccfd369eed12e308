"""Integrations with other tools. Each needs its own extra."""
