"""Programs on which `check` is still wrong, each with the reason; a test fails once an entry is needless."""

MISSED: dict[str, str] = {}  # faulty programs without a true leading finding
ALARMED: dict[str, str] = {}  # sound programs, or repaired twins (`twin-of-...`), with an error or a warning
