"""What Airflow reads to discover this provider."""


def get_provider_info() -> dict[str, object]:
    """Return the provider's metadata; see Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-octospark",
        "name": "Octospark",
        "description": "Publish, schedule and await social media posts with Octospark.",
    }
