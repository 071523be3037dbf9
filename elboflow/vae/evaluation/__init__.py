"""Evaluation of a trained model on the test split: bounds, diagnostics, intervals, figures and a report.

`evaluate.evaluate` is the whole recipe. `bootstrap` and `metrics` need NumPy only: who compares two evaluated models
loads no framework.
"""
