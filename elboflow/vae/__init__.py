"""Variational autoencoders: distributions, networks, objectives, training and evaluation, on Keras 3.

This package contains features, models and weights. It does not depend on Beam, Kubeflow, MLflow or clouds.
"""
