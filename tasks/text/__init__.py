"""Pure functions on text: normalisation, language, segmentation, quality, personal data."""
