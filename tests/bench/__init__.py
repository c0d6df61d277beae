"""Benchmarks, one a budget of the design; each prints one flat JSON object."""
