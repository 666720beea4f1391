"""Learning from people's images, and rebuilding images from what was learned."""
