"""Training and compiled functions on JAX."""
