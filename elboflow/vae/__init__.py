"""Variational autoencoders: distributions, networks, objectives, training and evaluation, on Keras 3.

This room knows features, models and weights; it knows nothing of Beam, Kubeflow, MLflow or clouds.
"""
