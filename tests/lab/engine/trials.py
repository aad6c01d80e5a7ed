"""Functions that trials of the tests call, in this process or in others."""

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isometry._errors import NotApplicableError
from isometry._phrases import Phrase
from isometry.lab.engine.trial import Progress, Trial


def trial(name: str, **config: Any) -> Trial:
    """Return a trial of one of the functions below."""
    return Trial(function=f"{__name__}:{name}", config=config, name=name)


def square(config: Mapping[str, Any], progress: Progress) -> Mapping[str, Any]:
    progress(0.5)
    if log := config.get("log"):
        with Path(log).open("a", encoding="utf-8") as stream:
            stream.write(f"{config['x']}\n")
    return {"square": config["x"] ** 2}


def refuse(config: Mapping[str, Any], _: Progress) -> Mapping[str, Any]:
    raise ValueError(f"x = {config['x']} is refused")


def set_aside(config: Mapping[str, Any], _: Progress) -> Mapping[str, Any]:
    """Not apply until a file is there."""
    if Path(config["mark"]).exists():
        return {"seen": True}
    raise NotApplicableError(Phrase("there is no {mark}, and one is needed.", mark=Phrase("mark")))


def leave(config: Mapping[str, Any], _: Progress) -> Mapping[str, Any]:
    sys.exit(config["x"])


def die_once(config: Mapping[str, Any], _: Progress) -> Mapping[str, Any]:
    """Kill the own process the first time, and return the second."""
    mark = Path(config["mark"])
    if not mark.exists():
        mark.touch()
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGKILL)
    return {"x": config["x"]}


def die_always(_: Mapping[str, Any], __: Progress) -> Mapping[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def wait_for(config: Mapping[str, Any], _: Progress) -> Mapping[str, Any]:
    while not Path(config["mark"]).exists():
        time.sleep(0.05)
    return {"seen": True}
