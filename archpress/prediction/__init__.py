"""How good a network will be, told from few labels: features, regressors, choice between them."""
