"""Training: the upsampler for a CLIP, and the small CLIP that comes with the package."""
