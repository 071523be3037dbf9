"""Schedules of this machine: the record of every tick, and the scheduler that runs what is due."""
