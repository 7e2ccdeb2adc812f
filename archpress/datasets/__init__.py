"""Image classification data sets: read, checked and split."""
