"""A smaller network: gradient descent in the embedding, candidates, selection, final training."""
