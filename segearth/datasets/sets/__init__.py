"""The descriptions, one module a data set: each has a `DATASET`.

Thresholds, background indices and factors are SegEarth-OV's released settings (CVPR 2025) unless a description names
another source. Layouts and counts are those that publishers and users report; few of the archives were at hand, so
what the tools find is what counts. A module whose name begins with an underscore has what several sets share.
"""
