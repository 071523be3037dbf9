"""The folder that is the PYTHONPATH of the processes that stand for containers."""
