"""Scenes to check and to measure with: a model that costs next to nothing, a large raster, runs of processes."""
