"""Numbers in, numbers out: fans, Gaussian means and the critical point of an activation; no torch."""
