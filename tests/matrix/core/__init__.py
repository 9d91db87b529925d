"""What has to hold on every version of Airflow and can differ between them."""
