"""Kubeflow Pipelines: compiled, submitted, followed, scheduled."""
