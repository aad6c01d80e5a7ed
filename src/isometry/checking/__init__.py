"""`check`: rules run on one recorded step, guarded by a trial, their leading cause proved on a copy."""
