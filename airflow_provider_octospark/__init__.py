"""Apache Airflow provider for Octospark: publish, schedule and await posts on social platforms."""

__version__ = "0.1.0"
