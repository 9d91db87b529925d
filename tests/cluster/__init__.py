"""An Airflow as in production, on one machine, and what is done to it there."""
