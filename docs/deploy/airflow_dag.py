"""An Airflow DAG (3.0 or newer): train, compare with last night, and only where it is no worse make the lists.

Copy it to Airflow's dags folder. crossrec is installed in ``SHOP/.venv``, so that its libraries do not meet Airflow's.
``crossrec run shop.yaml`` has run there once, so that there is something to compare with. See docs/how-to/cron.md.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

SHOP = "/srv/shop"
CONFIG = "shop.yaml"
RUN = "runs/shop"
"""The config's ``run_dir``."""


def crossrec(task_id: str, arguments: str, retries: int = 2) -> BashOperator:
    """One command; an exit code other than 0 fails the task."""
    return BashOperator(
        task_id=task_id,
        bash_command=f".venv/bin/crossrec {arguments} --quiet --lock-timeout 600",
        cwd=SHOP,
        append_env=True,
        retries=retries,
        retry_delay=timedelta(minutes=10),
        execution_timeout=timedelta(hours=6),
    )


with DAG(
    "crossrec",
    schedule="30 2 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,  # one command at a time writes in a run directory
):
    train = crossrec("train", f"run {CONFIG} --to finetune")  # a retry goes on where a killed training was
    # Exit code 7: worse than last night. A retry would compare this evaluation with itself, and pass.
    compare = crossrec("compare", f"evaluate {CONFIG} --against {RUN}", retries=0)
    train >> compare >> crossrec("recommend", f"recommend {CONFIG}")
