"""The class Phrase, where rules and renderers look for it; it stands lower, since probes have sentences to say too."""

from isometry._phrases import Phrase

__all__ = ["Phrase"]
