"""Kinds of models, which compute the terms of the bound. A kind is one file.

The kinds differ in the structure of their latents. All can use the same networks, priors, posteriors and likelihoods.
"""
