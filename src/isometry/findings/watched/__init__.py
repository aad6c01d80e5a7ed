"""Rules that judge a training while it runs: the history of a run in, findings out."""
