"""The provider's metadata for Airflow: one literal, so that discovery imports nothing else.

The connection form is described here only. Airflow 3.2 and newer read it from here; for older versions the hook builds the
form from it.
"""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata; see Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-octospark",
        "name": "Octospark",
        "description": "Publish, schedule and await social media posts with Octospark.",
        "integrations": [
            {
                "integration-name": "Octospark",
                "external-doc-url": "https://octospark.ai",
                "tags": ["service"],
            }
        ],
        "hooks": [
            {
                "integration-name": "Octospark",
                "python-modules": ["airflow_provider_octospark.hooks.octospark"],
            }
        ],
        "operators": [
            {
                "integration-name": "Octospark",
                "python-modules": [
                    "airflow_provider_octospark.operators.octospark",
                    "airflow_provider_octospark.operators.performance",
                ],
            }
        ],
        "sensors": [
            {
                "integration-name": "Octospark",
                "python-modules": ["airflow_provider_octospark.sensors.octospark"],
            }
        ],
        "triggers": [
            {
                "integration-name": "Octospark",
                "python-modules": [
                    "airflow_provider_octospark.triggers.octospark",
                    "airflow_provider_octospark.triggers.performance",
                    "airflow_provider_octospark.triggers.published",
                ],
            }
        ],
        "notifications": ["airflow_provider_octospark.notifications.octospark.OctosparkPostNowNotifier"],
        "extra-links": ["airflow_provider_octospark.links.octospark.OctosparkPublishedPostLink"],
        "connection-types": [
            {
                "connection-type": "octospark",
                "hook-class-name": "airflow_provider_octospark.hooks.octospark.OctosparkHook",
                "hook-name": "Octospark",
                "ui-field-behaviour": {
                    # The port has its own field: the UI of Airflow 3.3.2 cannot test a connection without it.
                    "hidden-fields": ["schema", "login"],
                    "relabeling": {"host": "Base URL", "password": "API key"},
                    "placeholders": {
                        "host": "https://api.octospark.ai",
                        "password": "octo_live_… or octo_test_…",
                        "port": "443",
                    },
                },
                # No defaults here: the form would store them, and a later version could not change them.
                "conn-fields": {
                    "team_id": {
                        "label": "Team id",
                        "description": "Whose posts and accounts are meant where a task names no team.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "timeout": {
                        "label": "Timeout of a read",
                        "description": "Seconds that a request which only reads may take. Empty: 30.",
                        "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": 86400},
                    },
                    "submit_timeout": {
                        "label": "Timeout of a submission",
                        "description": "Seconds that a submission may take to be answered. Empty: 300, since some "
                        "platforms publish inside the request.",
                        "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": 86400},
                    },
                    "verify": {
                        "label": "TLS certificates",
                        "description": "Path of a CA bundle to check certificates with. Empty: the usual ones. "
                        "'false' checks nothing: whoever sits on the way can read the API key.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "proxy": {
                        "label": "Proxy",
                        "description": "URL of an HTTP proxy, without a password. Empty: the environment's, if it has one.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "trust_env": {
                        "label": "Proxy of the environment",
                        "description": "'false' ignores the environment's proxy variables. Empty: they are used.",
                        "schema": {"type": ["string", "null"], "enum": ["true", "false"]},
                    },
                    "allow_http": {
                        "label": "Allow plain http",
                        "description": "Send the API key unencrypted to hosts other than this machine.",
                        "schema": {"type": ["boolean", "null"]},
                    },
                    "read_only": {
                        "label": "Read only",
                        "description": "Submit nothing through this connection. Waits go on, and tasks that submit fail.",
                        "schema": {"type": ["boolean", "null"]},
                    },
                    "max_in_flight": {
                        "label": "Requests at once",
                        "description": "Requests that one triggerer has under way at most. Empty: 12.",
                        "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": 100},
                    },
                },
            }
        ],
    }
