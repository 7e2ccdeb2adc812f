"""Networks for elsewhere: a folder of files that need nothing of archpress."""
