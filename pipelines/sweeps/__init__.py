"""Sweeps: many trainings of one experiment on one dataset, of which the best is evaluated and registered."""
