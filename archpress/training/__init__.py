"""Training one network: the recipe, and the fastest way to run it on this device."""
