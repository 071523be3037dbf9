"""Doubles of the platforms, on this machine: servers that speak their public protocols and execute what is submitted.

Vertex AI, Kubeflow Pipelines, Cloud Storage, Artifact Registry, Docker and Google's token endpoint. They know nothing
of this project's pipelines. What they need beyond its dependencies is the extra `rehearsal`.
"""
