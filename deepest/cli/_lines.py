"""A text file read line by line, that can say of each line where it stands."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from deepest.cli._refuse import Refusal

# What C's atof and atoi read of a field, and what they leave: another word, or a remark.
_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?:\s+(.*))?")


@dataclasses.dataclass(frozen=True)
class Line:
    """One line that holds something, and its number in its file."""

    file: Path
    number: int
    text: str

    def refuse(self, why: str) -> Refusal:
        """The refusal of this line."""
        return Refusal(f"{self.file}, line {self.number}: {why}")

    def numbers(self, least: int, what: str, separator: str = ",") -> tuple[list[float], str]:
        """The first `least` numbers, with commas between, and what stands behind them and is not read."""
        fields = self.text.split(separator, least)
        values, behind = [], fields[least:]
        for field in fields[:least]:
            found = _NUMBER.fullmatch(field)
            if found is None:
                raise self.refuse(f'expected {what}; "{field.strip()}" in it is no number.')
            values.append(float(found[1]))
            behind += [found[2]] if found[2] else []
        if len(values) < least:
            raise self.refuse(f'expected {what}; received "{self.text}".')
        return values, " ".join(behind).strip()

    def whole(self, what: str, least: int) -> int:
        """The whole number at the beginning of the line."""
        (value,), _ = self.numbers(1, what)
        if value != int(value) or value < least:
            raise self.refuse(f"expected {what}, a whole number of at least {least}; received {value:g}.")
        return int(value)


class Lines:
    """The lines of a file but for those that begin with a comment mark, handed out one after the other."""

    def __init__(self, file: Path, comments: Sequence[str]):
        try:
            text = file.read_bytes().decode("utf-8-sig")
        except OSError as error:
            raise Refusal(f"{file} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise Refusal(f"{file} is no text in UTF-8.") from error
        numbered = [Line(file, n, line.strip()) for n, line in enumerate(text.splitlines(), 1)]
        self._file, self._left = file, [line for line in numbered if not line.text.startswith(tuple(comments))]
        while self._left and not self._left[-1].text:
            self._left.pop()
        self._left.reverse()

    def take(self, what: str) -> Line:
        """The next line. Refuses where there is none, or a blank one, which would count as a line."""
        if not self._left:
            raise Refusal(f"{self._file} ends where {what} should follow.")
        line = self._left.pop()
        if not line.text:
            raise line.refuse(f"expected {what}; received a blank line.")
        return line

    def several(self, count: int, what: str) -> list[Line]:
        """The next `count` lines."""
        return [self.take(f"{what} {k + 1} of {count}") for k in range(count)]

    def rest(self) -> list[Line]:
        """Whatever is left."""
        left = self._left[::-1]
        self._left = []
        return [line for line in left if line.text]
