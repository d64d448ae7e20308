"""Many images to maps in a folder: what to map and how the maps are called, what is done already, what failed."""
