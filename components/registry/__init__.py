"""Registered models: how a model folder becomes a version in MLflow, and how a version becomes a model folder again.

Packaging and serving, the champion and the paired test that a newcomer must pass, and the names by which a person asks
for a model. May import `tracking`, `binding`, `surroundings` and `config`; knows neither the steps nor sweeps.
"""
