"""Rules that say when a training has gone far enough, and the bench that compares them on recorded runs."""
