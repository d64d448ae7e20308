"""The small CLIP that the package carries: what it learns from, how, and how good it is."""
