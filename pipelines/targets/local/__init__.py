"""This machine: runs, their state, and their logs."""
