"""Values with bounds in, settings that cannot change and know no other names out."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Base of the settings of this library: frozen, and a name that does not exist is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
