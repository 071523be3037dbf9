"""Training and compiled functions on TensorFlow."""
