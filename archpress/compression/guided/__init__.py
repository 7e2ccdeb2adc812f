"""The search by default: a pretrained embedding, regressors that are weighed, rounds of labels."""
