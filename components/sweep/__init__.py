"""Trials of a sweep: each trains in a separate process, MLflow records it, and the model of the best trial is chosen.

The top room: a trial calls the step `train`. May import the steps and every other room; nothing in `components`
imports it.
"""
