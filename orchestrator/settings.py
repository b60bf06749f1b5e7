"""The operator's own settings: flag > environment > TOML > default, and where each came from.

Called by the command line and the server; `orchestrator doctor` shows every value with its source.
Secrets are never settings: object stores read their credentials from their usual environment
variables and profile files, so a printed setting can never leak one.
"""

from __future__ import annotations

import json
import os
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from orchestrator.backend_settings import BackendTables, this_machine
from orchestrator.errors import SettingsError

PREFIX = "ORCHESTRATOR_"
CONFIG_VARIABLE = "ORCHESTRATOR_CONFIG"
SECRET_PREFIX = "ORCHESTRATOR_SECRET_"
"""Variables that begin so are secrets which jobs may name, no settings."""

PROJECT_FILE = "orchestrator.toml"

# Variables with our prefix that one process hands to another, or that are secret: no settings.
RESERVED = frozenset(
    {
        CONFIG_VARIABLE,
        "ORCHESTRATOR_REPORT_TOKEN",
        "ORCHESTRATOR_CLUSTER_ID",
        "ORCHESTRATOR_LAUNCH",
        "ORCHESTRATOR_URL",  # of the server a client asks, and
        "ORCHESTRATOR_TOKEN",  # with what
    }
)


class Settings(BaseModel):
    """Every setting, resolved. Paths are absolute."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str = Field(
        default="models",
        min_length=1,
        description="Object store of jobs that name none: a folder, s3://…, gs:// or az://.",
    )
    store_endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="URL of an S3-compatible server; absent: AWS_ENDPOINT_URL, or AWS itself.",
    )
    store_region: str | None = Field(
        default=None, min_length=1, description="Region of the S3 bucket; absent: AWS_REGION."
    )
    store_retry_seconds: float = Field(
        default=30.0, ge=0, description="How long a command waits for a store that is away."
    )
    state_dir: Path = Field(description="Locks of live runs.")
    cache_dir: Path = Field(description="Downloaded base models and data.")
    row_cache_bytes: int = Field(
        default=10_000_000_000,
        ge=0,
        description="Size of the tokenized rows in cache_dir; the least used go first.",
    )
    ray_temp_dir: Path = Field(
        description="Where embedded Ray clusters keep sockets and logs; at most 30 characters."
    )
    report_host: str = Field(
        default="127.0.0.1", description="Address the receiver of Reports binds."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="WARNING", description="Least level of the log on stderr."
    )
    log_format: Literal["auto", "text", "json"] = Field(
        default="auto", description="auto: text in a terminal, JSON lines elsewhere."
    )
    launch_timeout_seconds: float = Field(
        default=300.0, gt=0, description="How long the embedded Ray may take to come up."
    )

    user_code: Literal["allowed", "refused"] | None = Field(
        default=None,
        description=(
            "Whether specs may bring code, variables and secrets for their workers; absent: "
            "allowed for `run`, refused by `serve`."
        ),
    )
    secrets_dir: Path | None = Field(
        default=None,
        description=(
            "Folder of secrets that specs may name: a file each, or <team>/<name>; besides it "
            f"the variables {SECRET_PREFIX}<NAME>."
        ),
    )

    prices: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        default_factory=dict,
        description=(
            "What one GPU costs for an hour, by its name, in any currency: [prices] H100 = 2.5; "
            "`plan --hardware` tells costs by them. In the environment: one JSON object."
        ),
    )

    # Of `serve`.
    database: str | None = Field(
        default=None,
        pattern=r"^(sqlite|postgresql)://",
        description=(
            "Rows of `serve`: sqlite:///FILE or postgresql://USER@HOST/NAME, its password in "
            "PGPASSWORD or a password file; absent: SQLite in state_dir."
        ),
    )
    api_host: str = Field(default="127.0.0.1", description="Address the API binds.")
    api_port: int = Field(default=8642, ge=0, le=65535, description="Port of the API; 0: any.")
    api_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="Where workers reach the API to report; absent: at the address it binds.",
    )
    authentication: Literal["tokens", "off"] = Field(
        default="tokens", description="off: everybody is an admin; on a loopback address only."
    )
    metrics_access: Literal["admins", "open"] = Field(
        default="admins",
        description="Who may read /metrics: whoever has an admin's token, or everybody.",
    )
    allowed_urls: tuple[str, ...] = Field(
        default=(),
        description=(
            "Object stores that specs may name besides the server's, by prefix; {team} stands "
            "for the team. In the environment: separated by commas."
        ),
    )
    max_upload_bytes: int = Field(
        default=10_000_000_000, ge=1, description="Size of one file that `submit` may upload."
    )
    backends: BackendTables = Field(
        default_factory=this_machine,
        description="Where jobs run, a table each; in the environment: one JSON object.",
    )
    oidc_issuer: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="Whose bearer tokens are accepted too: the issuer's URL; absent: nobody's.",
    )
    oidc_audience: str | None = Field(
        default=None, description="What the tokens of the issuer must be meant for."
    )
    oidc_jwks_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="Where the issuer's keys are; absent: its discovery document tells.",
    )
    oidc_name_claim: str = Field(default="sub", description="Claim with the name of the user.")
    oidc_team_claim: str = Field(default="team", description="Claim with the user's team.")
    oidc_role_claim: str = Field(default="role", description="Claim with the user's role.")

    sources: dict[str, str] = Field(default_factory=dict, exclude=True, repr=False)
    warnings: tuple[str, ...] = Field(default=(), exclude=True, repr=False)

    @field_validator("database")
    @classmethod
    def _without_password(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.password is not None or "password" in parts.query.lower():
            raise ValueError("it holds a password; set PGPASSWORD or a password file instead")
        return value

    @field_validator("prices", mode="before")
    @classmethod
    def _from_json(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"not valid JSON: {error}") from None

    @field_validator("allowed_urls", mode="before")
    @classmethod
    def _separated_by_commas(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @property
    def database_url(self) -> str:
        """Of the service's rows."""
        return self.database or f"sqlite:///{self.state_dir / 'orchestrator.db'}"

    def source(self, name: str) -> str:
        """Where a value came from: `flag`, `environment NAME`, `FILE` or `default`."""
        return self.sources.get(name, "default")

    def store_environment(self) -> dict[str, str]:
        """The store's settings as the variables that object store clients read."""
        named = {"AWS_ENDPOINT_URL_S3": self.store_endpoint, "AWS_REGION": self.store_region}
        return {name: value for name, value in named.items() if value is not None}

    def described(self) -> Iterator[DescribedSetting]:
        """Every setting, for `doctor`."""
        for name in setting_names():
            description = type(self).model_fields[name].description or ""
            value = getattr(self, name)
            if name == "backends":
                tables = value.items()
                value = {
                    key: {"kind": table.kind, **table.model_dump(exclude_defaults=True)}
                    for key, table in tables
                }
            yield DescribedSetting(name, value, self.source(name), description)


@dataclass(frozen=True, slots=True)
class DescribedSetting:
    """One row of `doctor`'s table."""

    name: str
    value: Any
    source: str
    description: str


def setting_names() -> tuple[str, ...]:
    own = ("sources", "warnings")
    return tuple(name for name in Settings.model_fields if name not in own)


def load_settings(
    flags: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Settings:
    """Resolves every setting.

    Args:
        flags: By name; None means not given.
        environ: The process's environment unless given.
        directory: Where `orchestrator.toml` is looked for and relative paths start; the current
            one unless given.

    Raises:
        SettingsError: an unknown name in a TOML file, or a value of the wrong kind.
    """
    environ = os.environ if environ is None else environ
    directory = Path.cwd() if directory is None else directory
    # From the weakest source to the strongest; each entry is (value, source).
    found: dict[str, tuple[Any, str]] = {
        name: (value, "default") for name, value in _default_folders(environ).items()
    }
    for file in _toml_files(environ, directory):
        found |= _from_toml(file)
    found |= _from_environment(environ)
    found |= {n: (v, "flag") for n, v in (flags or {}).items() if v is not None}
    values = {name: value for name, (value, _) in found.items()}
    sources = {name: source for name, (_, source) in found.items()}
    try:
        settings = Settings(**values, sources=sources, warnings=_unknown_variables(environ))
    except ValidationError as error:
        raise SettingsError("\n".join(_explained(error, sources))) from None
    return settings.model_copy(update=_absolute(settings, directory))


def _default_folders(environ: Mapping[str, str]) -> dict[str, str]:
    home = Path(environ.get("HOME") or Path.home())
    state = Path(environ.get("XDG_STATE_HOME") or home / ".local/state")
    cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    return {
        "state_dir": str(state / "orchestrator"),
        "cache_dir": str(cache / "orchestrator"),
        "ray_temp_dir": _short_temp_dir(),
    }


def _short_temp_dir() -> str:
    """Ray's socket paths must stay below 108 bytes, and macOS's own temporary folder is long."""
    own = f"orc-{os.getuid()}"
    folder = Path(tempfile.gettempdir()) / own
    return str(folder) if len(str(folder)) <= 30 else f"/tmp/{own}"


def _toml_files(environ: Mapping[str, str], directory: Path) -> Iterator[Path]:
    """The person's file (or the one $ORCHESTRATOR_CONFIG names), then the project's."""
    named = environ.get(CONFIG_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise SettingsError(
                f"{CONFIG_VARIABLE}: there is no file {named}", hint="correct or unset the variable"
            )
        yield Path(named)
    else:
        home = Path(environ.get("HOME") or Path.home())
        config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
        if (personal := config / "orchestrator/config.toml").is_file():
            yield personal
    if (project := directory / PROJECT_FILE).is_file():
        yield project


def _from_toml(file: Path) -> dict[str, tuple[Any, str]]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file}: not valid TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: cannot be read: {error}") from None
    for name in values:
        if name not in setting_names():
            raise SettingsError(f"{file}: unknown setting {name!r}", hint=_did_you_mean(name))
    return {
        # A folder in a file is relative to that file, so that it means the same everywhere.
        name: (_beside(file, name, value), str(file))
        for name, value in values.items()
    }


def _beside(file: Path, name: str, value: Any) -> Any:
    if not isinstance(value, str) or not _is_folder(name, value):
        return value
    return str(file.absolute().parent / Path(value).expanduser())


def _is_folder(name: str, value: str) -> bool:
    return name.endswith("_dir") or (name == "store" and "://" not in value)


def _from_environment(environ: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    variables = {name: PREFIX + name.upper() for name in setting_names()}
    return {
        name: (environ[variable], f"environment {variable}")
        for name, variable in variables.items()
        if environ.get(variable)  # an empty variable is as good as none
    }


def _unknown_variables(environ: Mapping[str, str]) -> tuple[str, ...]:
    known = {PREFIX + name.upper() for name in setting_names()} | RESERVED
    return tuple(
        f"{variable} is no setting and has no effect "
        f"({_did_you_mean(variable.removeprefix(PREFIX).lower())})"
        for variable in sorted(environ)
        if variable.startswith(PREFIX)
        and not variable.startswith(SECRET_PREFIX)
        and variable not in known
    )


def _did_you_mean(name: str) -> str:
    near = get_close_matches(name, setting_names(), n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"settings: {', '.join(setting_names())}"


def _explained(error: ValidationError, sources: Mapping[str, str]) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        path = problem["loc"] or ("settings",)
        name = str(path[0])
        # Below `backends` pydantic tells name and kind of the table before the field.
        field = ".".join(str(part) for number, part in enumerate(path) if number != 2)
        reason = str(problem["msg"])
        if problem["type"] == "extra_forbidden":
            near = f" ({_did_you_mean(name)})" if len(path) == 1 else ""
            reason = f"unknown setting{near}"
        elif problem["type"] == "value_error":  # our own words; the value may be a secret
            reason = reason.removeprefix("Value error, ")
        elif not isinstance(problem["input"], dict):
            reason += f", not {problem['input']!r}"
        yield f"{field} ({sources.get(name, 'default')}): {reason[:1].lower() + reason[1:]}"


def _absolute(settings: Settings, directory: Path) -> dict[str, Any]:
    """Folders as they are meant: `~` is the home folder, the rest is relative to `directory`."""
    changed: dict[str, Any] = {
        name: directory.absolute() / getattr(settings, name).expanduser()
        for name in ("state_dir", "cache_dir", "ray_temp_dir")
    }
    if settings.secrets_dir is not None:
        changed["secrets_dir"] = directory.absolute() / settings.secrets_dir.expanduser()
    if _is_folder("store", settings.store):
        changed["store"] = str(directory.absolute() / Path(settings.store).expanduser())
    return changed
