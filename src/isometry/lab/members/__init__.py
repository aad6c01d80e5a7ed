"""Many small networks trained side by side in one process, as batched matrix products."""
