"""Training and compiled functions on PyTorch."""
