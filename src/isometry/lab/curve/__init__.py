"""Where a family of models stands on the curve of its test error over width, epochs or samples."""
