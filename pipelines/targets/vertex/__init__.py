"""Vertex AI Pipelines: compiled, submitted, followed, scheduled."""
