"""What pyproject.toml cannot say: configs/ is packaged as segearth/configs/, and the readme's links are adapted."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def portable(readme: str, repository: str | None) -> str:
    """The readme as it can be shown outside the repository.

    Args:
        readme: Markdown, whose relative links are paths of files in the repository.
        repository: its URL on GitHub; None: relative links become plain text, relative pictures are left out.
    """
    relative = r"\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)"
    picture, link = "", r"\1"
    if repository is not None:
        picture, link = rf"![\1]({repository}/raw/main/\2)", rf"[\1]({repository}/blob/main/\2)"
    return re.sub(relative, link, re.sub("!" + relative, picture, readme))


if __name__ == "__main__":
    repository = re.search(r'^Repository = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    setup(
        packages=[*find_packages(include=["segearth*"]), "segearth.data", "segearth.configs"],
        package_dir={"segearth.configs": "configs"},
        package_data={
            "segearth": ["py.typed"],
            "segearth.data": ["*"],
            "segearth.configs": ["*.txt"],
            "segearth.web": ["static/**"],
        },
        long_description=portable(
            (ROOT / "README.md").read_text(encoding="utf-8"), None if repository is None else repository[1]
        ),
        long_description_content_type="text/markdown",
    )
