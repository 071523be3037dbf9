"""A dataset folder as a model sees it.

Splits become examples with weights, raw values become stored ones, and recorded settings are compared with the folders
they claim to have made. Imports `preprocessing` and `elboflow`, and no other room of `components`.
"""
