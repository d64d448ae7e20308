"""Training of the upsampler for a CLIP."""
