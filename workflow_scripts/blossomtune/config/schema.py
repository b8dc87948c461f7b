"""Print the JSON schema of the configuration: ``python -m blossomtune.config.schema``."""

import json

from blossomtune.config.configuration import Configuration


def render_json_schema() -> str:
    """Return the content of config/schema.json."""
    return json.dumps(Configuration.model_json_schema(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    print(render_json_schema(), end="")
