"""Evaluation of a trained model on the test split: bounds, diagnostics, intervals, figures and a report.

`evaluate.evaluate` runs the whole evaluation. `bootstrap` and `metrics` need only NumPy, so that a comparison of two
evaluated models imports no framework.
"""
