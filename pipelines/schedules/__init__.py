"""Schedules of this machine: when they tick, what became of every tick, and the daemon that runs what is due."""
