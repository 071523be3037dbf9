"""The connection between datasets and models.

This package reads splits as weighted examples, converts raw values to stored values, and compares recorded settings
with the folders of a run. It imports `preprocessing` and `elboflow`, and no other package of `components`.
"""
