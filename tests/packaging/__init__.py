"""What a user gets from the package index: the distributions, and what Airflow finds in them."""
