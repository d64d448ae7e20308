"""Polygons of a map: exact, of any size, the same however the map is cut into tiles."""
