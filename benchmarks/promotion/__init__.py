"""The benchmark of promotions: error rates, power, and the life of a registered model, by simulation."""
