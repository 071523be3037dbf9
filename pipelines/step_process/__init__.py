"""A step as a process: how it starts, what it tells, why it was refused, and how its run ended."""
