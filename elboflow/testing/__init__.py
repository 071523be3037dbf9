"""What tests of pipelines that use ELBOflow need: pytest fixtures, an MLflow server, and planted faults.

Where ELBOflow is installed, pytest has the fixtures of `elboflow.testing.plugin`:

    def test_my_evaluator(elboflow_dataset, elboflow_model): ...

The faults of `elboflow.testing.faults` make of a whole folder one that a bad disk or a kill left behind.
"""
