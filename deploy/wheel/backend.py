"""Builds the distribution: setuptools, behind a step that moves the packages into ``atelier_serving`` for a wheel.

An editable installation is that of setuptools: in a checkout the packages remain ``app`` and ``training``.
Source: PEP 517 and PEP 660, which name the hooks.
"""

import os
import tempfile
from contextlib import chdir
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
)

from deploy.wheel.relocation import write_tree

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
]


def build_wheel(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Write the wheel; its file name.

    Args:
        wheel_directory: for the file.
        config_settings: of setuptools.
        metadata_directory: not used; the metadata are those of the rewritten project.

    Raises:
        CannotRelocate: a source has a form that is not rewritten.
    """
    target, root = os.path.abspath(wheel_directory), Path.cwd()
    with tempfile.TemporaryDirectory(prefix="atelier-wheel-") as tree:
        write_tree(root, Path(tree))
        with chdir(tree):
            return build_meta.build_wheel(target, config_settings)
