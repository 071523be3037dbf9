"""What MLflow keeps of a run, and how it is reached.

The tracking store (a server, or a SQLite file with its artifacts beside it), the run of a pipeline run with its
parameters and curves, the curves of a training while it runs, and the token for a server behind IAP. May import
`binding`, `surroundings` and `config`; knows neither the registry nor sweeps.
"""
