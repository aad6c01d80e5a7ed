"""Where the random numbers of one parameter come from: a seed, a purpose and the parameter's name, nothing else.

Parameters share no numbers, and neither the order in which they are filled nor another parameter's existence matters.
"""

import hashlib
import json
from dataclasses import dataclass

import torch

from isometry._errors import DomainError


@dataclass(frozen=True, slots=True)
class Stream:
    """The key of a parameter's random numbers.

    Attributes:
        seed: The user's choice, in [0, 2**64).
        purpose: What the numbers are for, such as `init`; one parameter may need several kinds.
        name: Canonical name of the parameter.
    """

    seed: int
    purpose: str
    name: str

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**64:
            raise DomainError(
                f"seed={self.seed!r} is outside [0, 2**64); a stream takes a seed of 64 bits. Choose a smaller number "
                "that is not negative."
            )

    def generator(self, device: torch.device | str = "cpu") -> torch.Generator:
        """Make a generator at the start of this stream.

        Torch's CPU generator reads the lower 32 bits of its seed: two of 1,000 parameters start alike with
        probability 1e-4.

        Args:
            device: Where the numbers will be drawn. The same stream differs from device to device.

        Returns:
            A generator of its own; torch's global one stays as it is.

        Source:
            BLAKE2b: RFC 7693.
        """
        # JSON keeps the three parts apart, whatever characters they hold.
        key = json.dumps([self.seed, self.purpose, self.name]).encode()
        digest = hashlib.blake2b(key, digest_size=8).digest()
        return torch.Generator(device).manual_seed(int.from_bytes(digest, "little"))
