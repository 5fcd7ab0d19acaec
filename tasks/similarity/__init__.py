"""Pure: signatures, nearest neighbours, margins and pairs of sentences from arrays and Arrow tables."""
