"""Mapping of many images into a folder: inputs and output names, finished maps, failures."""
