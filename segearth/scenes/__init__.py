"""Georeferenced rasters of any size: block by block, from a raster to styled GeoTIFFs. Needs the extra `geo`."""
