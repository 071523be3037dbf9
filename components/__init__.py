"""One file per step of the pipeline: a plain function from folders to a folder, or from folders to MLflow.

    preprocess → dataset/ → train → model/ → evaluate → evaluation/ → register → MLflow

`preprocess`, `train`, `evaluate` and `register` are called with paths and a section of the experiment, by a test, a
notebook, the command line or a KFP component alike. `models` finds a trained model by its name, and `use` makes images
with it. Importing any of these files imports no framework and no MLflow; calling a function does.
"""
