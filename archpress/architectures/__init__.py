"""What a network is: layers, validity, cost, modules and search spaces; no data, no training."""
