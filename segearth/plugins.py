"""Tables of parts that this process and installed packages can add to: CLIPs, methods and upsamplers."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from segearth.errors import UserError


@dataclass(frozen=True)
class Registry:
    """A table of parts by name, and the entry points of installed packages that add to it.

    A package is imported by `load` and `load_installed` alone.

    Attributes:
        noun: what a part is called in messages, such as "method".
        group: of the entry points, such as "segearth.methods".
        table: the parts; "module:name" stands for what is imported when it is used.
    """

    noun: str
    group: str
    table: dict[str, Any]

    def register(self, name: str, part: object) -> None:
        """Adds a part for this process; a part may be registered again under its name.

        Raises:
            UserError: the name is taken.
        """
        if self.table.get(name, part) != part:
            article = "an" if self.noun[0] in "aeiou" else "a"
            raise UserError(
                f"there is {article} {self.noun} {name!r} already: expected a new name; give it another one"
            )
        self.table[name] = part

    def installed(self) -> list[str]:
        """The names of the entry points of installed packages."""
        return sorted(entry_points(group=self.group).names)

    def names(self) -> list[str]:
        """The names of all parts, those of the table first."""
        return list(dict.fromkeys([*self.table, *self.installed()]))

    def has(self, name: object) -> bool:
        """Whether it is the name of a part that is in the table or installed."""
        return isinstance(name, str) and (name in self.table or name in self.installed())

    def load(self, name: str) -> Any:
        """The part of a name for which `has` holds, imported where it has to be.

        Raises:
            UserError: a package whose part cannot be imported.
        """
        part = self.table.get(name)
        if isinstance(part, str):
            return EntryPoint(name, part, self.group).load()
        return self.load_installed(name) if part is None else part

    def load_installed(self, name: str) -> Any:
        """What an entry point of an installed package names.

        Raises:
            UserError: it cannot be imported.
        """
        entry = next(entry for entry in entry_points(group=self.group) if entry.name == name)
        try:
            return entry.load()
        except Exception as error:  # code of other authors
            raise self.broken(name, f"cannot be loaded ({type(error).__name__}: {error})") from None

    def broken(self, name: str, why: str) -> UserError:
        """The error for a part of an installed package that cannot be used.

        Args:
            name: of the part.
            why: the rest of the sentence, such as "cannot be loaded".
        """
        return UserError(
            f"the {self.noun} {name!r} of another package {why}: expected an entry point of the group {self.group} "
            f"that works; correct that package, or use one of {', '.join(self.table)}"
        )
