"""Where Attempts run. Siblings never import each other, except through `base`."""
