"""The values Finding and Diagnosis, and their renderers: terminal, HTML, JSON."""
