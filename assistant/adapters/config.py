"""`adapters/<department>/adapter.yaml`: what a department's questions and voice are.

It owns the schema; it refuses to know how adapters are trained or served.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from assistant.yamlfile import Section, read_yaml, validated

DEPARTMENT_FILE = "adapter.yaml"
NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"


class DepartmentConfig(Section):
    """One department: its name, what belongs to it, how it speaks, and questions that the router learns."""

    department: str = Field(pattern=NAME)
    description: str = Field(min_length=1)
    style: str = Field(min_length=1, max_length=600)
    lead: str = Field(
        "",
        max_length=200,
        description="how an answer begins around the sentence found, for small models: see prompt.lead",
    )
    examples: tuple[str, ...] = Field(min_length=3)

    @field_validator("lead")
    @classmethod
    def _leads_to_evidence(cls, lead: str) -> str:
        if lead and not ("{evidence}" in lead and "[{number}]" in lead):
            raise ValueError("it must hold {evidence} and its citation [{number}]")
        return lead


def read_department(file: Path) -> DepartmentConfig:
    """Read a department's adapter.yaml.

    Raises:
        ConfigError: missing file, unknown key or wrong value.
    """
    return validated(DepartmentConfig, read_yaml(file), file)
