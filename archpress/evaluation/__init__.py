"""How good a network is: data sets, recipes, training, records and the archive."""
