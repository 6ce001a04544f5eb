"""The files of a class: each is read or refused, and none stops the others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from greenlab.lab.classroom import submission


def paths_of(folder: Path | str) -> list[Path]:
    """The ``.zip`` files of a folder and of its sub-folders, which a learning platform makes for each learner.

    Args:
        folder: where they are; hidden files are passed over, and links to folders are not followed.

    Raises:
        TypeError: if the folder is no path.
        ValueError: if there is no such folder, or it holds no ``.zip`` file.
    """
    if not isinstance(folder, (str, os.PathLike)):
        raise TypeError(f"folder={folder!r:.80} is {type(folder).__name__}: give the folder of the submissions")
    try:
        places = _shown(Path(folder)) if str(folder) else []
        below = [path for place in places if place.is_dir() and not place.is_symlink() for path in _shown(place)]
        # a folder named so is refused by name, one with another name is looked into
        found = [path for path in [*places, *below] if path.suffix.lower() == ".zip"]
    except (OSError, ValueError):
        found = []
    if not found:
        raise ValueError(
            f"folder={str(folder)!r:.200} holds no submission; give a folder with the .zip files of a class"
        )
    return found


def passed_over(folder: Path | str) -> list[str]:
    """What stands beside the submissions and is none: a notebook, another archive, a folder without a ``.zip`` file.

    Some browsers unpack a file that they fetch, so a reader may hand in a folder of JSON files. No one should find out
    at the end of a course that it was never read.

    Args:
        folder: as for ``paths_of``.

    Returns:
        Paths below the folder, sorted; hidden files are left out.

    Raises:
        TypeError: if the folder is no path.
        ValueError: if there is no such folder, or it holds no ``.zip`` file.
    """
    found = set(paths_of(folder))
    used = found | {path.parent for path in found}
    places = _shown(Path(folder))
    below = [path for place in places if place in used and place not in found for path in _shown(place)]
    return sorted(path.relative_to(folder).as_posix() for path in [*places, *below] if path not in used)


def _shown(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except PermissionError:
        return []


def read_folder(folder: Path | str) -> Iterator[tuple[str, submission.Submission | submission.Refused]]:
    """Read every submission of a folder; a file that cannot be read never stops the others.

    Args:
        folder: where the ``.zip`` files are, or a sub-folder for each; other files are passed over.

    Yields:
        The file's path below the folder, and the submission or the reason why it is refused.

    Raises:
        TypeError: if the folder is no path.
        ValueError: if there is no such folder, or it holds no ``.zip`` file.
    """
    for path in paths_of(folder):
        name = path.relative_to(folder).as_posix()
        try:
            yield name, submission.read(path)
        except submission.Refused as refused:
            yield name, refused
        except OSError as error:
            yield name, submission.Refused("path", f"it cannot be read ({error.strerror})")
        except Exception as error:  # whatever a made-up file can do to a reader of files
            yield name, submission.Refused("data", f"it cannot be read ({type(error).__name__})")
