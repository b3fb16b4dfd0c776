"""Every setting of every program, read once and passed down; nothing below this room looks at the environment.

    config = load_config(environ=os.environ, overrides={"agent.idle_seconds": "60"})
    config.agent.policy()

Rules:

* Sources in order, the later one wins: the default in ``sections``; the TOML file (``--config``, else
  ``CORPGRID_CONFIG``, else ``config.toml`` in the configuration folder); the environment
  (``CORPGRID_AGENT_IDLE_SECONDS``); the command line.
* A setting that is unknown, of the wrong type or out of range is an error that names it, its source, and the nearest
  name that exists.  Nothing is ignored silently.
* ``~`` is the user's home; a relative path in the file is relative to the file.

The names that other rooms use stand here; the modules behind them are this room's own.
"""

from corpgrid.config.reading import Setting, describe, load_config, variable_of
from corpgrid.config.sections import AgentConfig, ClientConfig, Config, GridConfig, LimitsConfig, SchedulerConfig

__all__ = [
    "AgentConfig",
    "ClientConfig",
    "Config",
    "GridConfig",
    "LimitsConfig",
    "SchedulerConfig",
    "Setting",
    "describe",
    "load_config",
    "variable_of",
]
