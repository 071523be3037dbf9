"""Kinds of models: how the terms of the bound come about. One kind is one file.

They differ in their latents; networks, priors, posteriors and likelihoods are parts that any of them may use.
"""
