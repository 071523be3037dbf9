"""What `import elboflow` gives: the library of models (`elboflow.vae`), and what it stands on.

`elboflow.settings` has frozen settings and errors for people, `elboflow.artifacts` folders that commit last. The stages
of the pipeline are separate packages: `preprocessing`, `components`, `pipelines`.
"""

__version__ = "0.2.0"
