"""Shows what came of experiments: on a terminal, as pages, pictures and JSON."""
