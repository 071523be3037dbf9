"""Variational autoencoders: distributions, networks, objectives, training and evaluation, on Keras 3.

This room knows images, numbers and weights; it knows nothing of Beam, Kubeflow, MLflow or clouds.
"""
