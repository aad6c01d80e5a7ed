"""Records what a model does and reads it: layers, roles, axis order, fans, depth, ties; changes nothing."""
