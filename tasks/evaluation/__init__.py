"""Pure: published tests of sentence encoders, from vectors and texts to scores."""
