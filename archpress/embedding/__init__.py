"""A continuous space of architectures: encoder, decoder and regressors, fitted jointly."""
