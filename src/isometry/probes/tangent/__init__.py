"""The empirical neural tangent kernel of a module: inner products of its outputs' gradients over all parameters."""
