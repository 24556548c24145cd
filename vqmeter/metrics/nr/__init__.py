"""No-reference models: a video by itself."""
