"""Processes that train together, on one machine or many."""
