"""What several experiments are made with: data, networks, and readings of a curve."""
