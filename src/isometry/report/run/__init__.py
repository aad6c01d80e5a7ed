"""A watched run for people: the live view, the replay and the summary."""
