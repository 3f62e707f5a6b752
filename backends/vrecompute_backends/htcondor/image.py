"""How a job asks for its container image, as commands of the submit description.

docker://...                 brought by each machine itself
a path that machines share   left where it is: below the pool's CONTAINER_SHARED_FS, or by `transfer_image: false`
any other path               brought from the access point: by the pool, and for +SingularityImage by
                             `transfer_image: true`
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from vrecompute.config.spelling import VARIABLES
from vrecompute.errors import SiteError, UsageError
from vrecompute_backends.htcondor.options import HTCondorOptions

__all__ = ["brought_image", "image_commands"]


def image_commands(image: str, options: HTCondorOptions) -> dict[str, str]:
    """The commands that ask for an image. UsageError where the site's options do not fit it."""
    text = _expanded(image)
    if options.image_attribute == "SingularityImage":
        name = f"./{PurePosixPath(text).name}" if brought_image(image, options) else text
        return {"+SingularityImage": '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'}
    # of itself an absolute path is of a program in the image
    commands = {"universe": "container", "container_image": text, "transfer_executable": "true"}
    if options.transfer_image is not None and not _is_address(image):
        commands["transfer_container"] = str(options.transfer_image).lower()
    return commands


def brought_image(image: str | None, options: HTCondorOptions) -> str:
    """The file that goes to a job among its own, for a pool that brings no images of itself; empty if there is none."""
    if image is None or options.image_attribute != "SingularityImage" or not options.transfer_image:
        return ""
    if _is_address(image) or not options.file_transfer or re.search(r"[,\s]", image):
        raise UsageError(
            f"the image {image!r} cannot be brought to jobs (options.transfer_image): give the path of a file, without "
            "spaces and commas, and leave out `file_transfer: false`"
        )
    return _expanded(image)


def _is_address(image: str) -> bool:
    return "://" in image


def _expanded(image: str) -> str:
    """The text in the submit language: `$NAME` of the access point's environment, all else as it is."""
    if re.search(r"[\x00-\x1f\x7f]", image):
        raise SiteError(f"environment.image: {image!r} is no line of printable text")
    text, end = re.sub(r"^~(?=/)", "$HOME", image), 0
    found = ""
    for variable in VARIABLES.finditer(text):
        found += text[end : variable.start()].replace("$", "$(DOLLAR)") + f"$ENV({variable[1] or variable[2]})"
        end = variable.end()
    return found + text[end:].replace("$", "$(DOLLAR)")
