"""Side-by-side measurements: `python -m benchmarks`. See README.md in this folder."""
