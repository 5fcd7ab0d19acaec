"""Puts the sample web into the wheel, so that `babelmill demo` runs from an install; a checkout has it anyway."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_SAMPLES = ("demo.yaml", "LICENSE", "crawls", "gold")


class SamplesHook(BuildHookInterface):  # type: ignore[type-arg]
    """Includes samples/ as flows/samples/ in a wheel that is not editable."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the files before the build."""
        if version == "standard":
            build_data["force_include"].update({f"samples/{name}": f"flows/samples/{name}" for name in _SAMPLES})
