"""Rows of imports: what a DAG file pays for its import of operators and sensors, beyond ``airflow.sdk`` itself."""

from __future__ import annotations

import json
import subprocess
import tempfile
from functools import partial

from benchmarks.environments import ROOT
from benchmarks.plan import Case, Figures, Plan, clean_environment, least_of_some
from benchmarks.table import Row, Target, Value

PACKAGES = {
    "ours": ("airflow_provider_octospark.operators.octospark", "airflow_provider_octospark.sensors.octospark"),
    "dbt cloud": ("airflow.providers.dbt.cloud.operators.dbt", "airflow.providers.dbt.cloud.sensors.dbt"),
    "databricks": (
        "airflow.providers.databricks.operators.databricks",
        "airflow.providers.databricks.sensors.databricks",
    ),
    "http": ("airflow.providers.http.operators.http", "airflow.providers.http.sensors.http"),
}

_SCRIPT = """
import importlib, json, resource, sys, time
import airflow.sdk
from airflow.sdk import DAG, BaseOperator, task
before, modules = time.process_time(), len(sys.modules)
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in sys.argv[1:]:
    importlib.import_module(name)
spent = time.process_time() - before
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
print(json.dumps({"cpu": spent, "modules": len(sys.modules) - modules, "memory": grown}))
"""


def _measure(plan: Plan, name: str) -> Figures:
    with tempfile.TemporaryDirectory(prefix="octospark-benchmark-") as home:
        done = subprocess.run(  # noqa: S603
            [plan.python, "-c", _SCRIPT, *PACKAGES[name]],
            cwd=ROOT,
            env=clean_environment(AIRFLOW_HOME=home),
            capture_output=True,
            text=True,
            check=True,
        )
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def cases(plan: Plan) -> list[Case]:
    """Each package."""
    return [Case(f"import {name}", partial(least_of_some, plan, partial(_measure, plan, name))) for name in PACKAGES]


def rows(plan: Plan) -> list[Row]:
    """CPU, modules and memory."""

    def row(what: str, figure: str, unit: str, scale: float, target: Target | None) -> Row:
        values = {}
        for name in PACKAGES:
            found = plan.median(f"import {name}", figure)
            values[name] = Value(None if found is None else found * scale, unit)
        return Row(what, values.pop("ours"), tuple(values.items()), target)

    return [
        row("import of operators and sensor, beyond airflow.sdk: CPU", "cpu", "ms", 1000.0, Target(at_most=15.0)),
        row("import of operators and sensor, beyond airflow.sdk: modules", "modules", "", 1.0, None),
        row("import of operators and sensor, beyond airflow.sdk: memory", "memory", "MiB", 1 / 1024, None),
    ]
