"""What a worker does with a trial: call it, and record what came of it."""

import traceback
from pathlib import Path

from isometry._errors import NotApplicableError
from isometry.lab.engine.records import Folder, is_finished
from isometry.lab.engine.trial import Trial


def perform(trial: Trial, root: Path) -> str:
    """Make a trial's call and record it; a call that raises is recorded too, and ends nothing else.

    What another run has finished in the meantime is left as it is.

    Args:
        trial: The trial.
        root: The folder of all trials.

    Returns:
        The trial's id.
    """
    if is_finished(root / trial.id):
        return trial.id
    folder = Folder(root, trial)
    try:
        folder.finish(trial.call(folder.progress))
    except NotApplicableError as error:
        folder.set_aside(error.reason)
    except (Exception, SystemExit):  # noqa: BLE001 - whatever a trial raises is its result
        folder.fail(traceback.format_exc())
    return trial.id
