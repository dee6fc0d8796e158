"""The one place where an optional dependency is loaded: on first use, with a sentence where it is missing."""

import importlib
import types
from typing import Any


class _Lazy(types.ModuleType):
    """Stands for a module until something is asked of it, then imports it and passes the question on."""

    extra: str

    def __getattr__(self, attribute: str) -> Any:
        # Tools look for dunders on everything they meet; that is no use of the module.
        if attribute.startswith("__") and attribute.endswith("__"):
            raise AttributeError(f"{self.__name__} is not loaded yet, so that it has no {attribute}.")
        return getattr(_load(self.__name__, self.extra), attribute)

    def __dir__(self) -> list[str]:
        return dir(_load(self.__name__, self.extra))


def lazy(name: str, *, extra: str) -> Any:
    """The module `name` of deepest, imported when its first attribute is asked for.

    `extra` is the optional dependency group that brings what the module imports. Where that is not installed, the
    first use raises `ImportError` with the command that installs it. Give type checkers the module itself, under
    `if TYPE_CHECKING`.
    """
    module = _Lazy(name, f"{name}, loaded on first use; it needs the extra `{extra}`.")
    module.extra = extra
    return module


def _load(name: str, extra: str) -> types.ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = (error.name or "deepest").partition(".")[0]
        if missing == "deepest":
            raise
        public = ".".join(part for part in name.split(".") if not part.startswith("_"))
        raise ImportError(f"{public} needs {missing}: pip install 'deepest-learning[{extra}]'") from error
