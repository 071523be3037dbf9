"""Trials of a sweep: each trains in a process of its own, MLflow records it, and the best one's model is chosen.

The top room: a trial calls the step `train`. May import the steps and every other room; nothing in `components`
imports it.
"""
