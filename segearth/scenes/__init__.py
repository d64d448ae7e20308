"""Maps georeferenced rasters of any size, block by block, to styled GeoTIFFs. Needs the extra `geo`."""
