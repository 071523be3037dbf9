"""Training against its peers and its limit, side by side in one run: `python -m benchmarks.training`."""
