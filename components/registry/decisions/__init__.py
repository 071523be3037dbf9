"""The decisions on the versions of a registered model: how they are made, kept and checked.

`judge` is a function of the history so far and of stored values alone, so that `verify` can repeat it years later.
"""
