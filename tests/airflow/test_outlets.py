"""The asset events of a task, as Airflow stores them."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.models.asset import AssetActive, AssetEvent, AssetModel
from airflow.providers.common.compat.sdk import DAG
from airflow.sdk import Asset, AssetAlias
from airflow.utils.session import create_session
from sqlalchemy import select

from airflow_provider_octospark.emulator import Emulator
from airflow_provider_octospark.operators.octospark import OctosparkPostNowOperator
from tests.airflow.stepping import TaskSteps

NAME, URI = "octospark_outlet", "octospark://outlet/one"

OUTLETS = {
    "asset": Asset(name=NAME, uri=URI),
    "name": Asset.ref(name=NAME),
    "uri": Asset.ref(uri=URI),
}


def activate() -> int:
    """Make the asset one that a scheduler has seen; return its id."""
    with create_session() as session:
        asset = session.scalar(select(AssetModel).where(AssetModel.name == NAME))
        if asset is None:
            asset = AssetModel(name=NAME, uri=URI)
            session.add(asset)
        if session.scalar(select(AssetActive).where(AssetActive.name == NAME)) is None:
            session.add(AssetActive(name=NAME, uri=URI))
        session.flush()
        return int(asset.id)


@pytest.mark.parametrize("kind", OUTLETS)
def test_the_event_of_an_outlet_has_the_outcomes_however_the_outlet_is_named(kind: str, emulator: Emulator) -> None:
    asset_id = activate()
    with DAG(f"outlet_{kind}", schedule=None) as dag:
        OctosparkPostNowOperator(
            task_id="publish",
            post_id=emulator.posts[0]["id"],
            social_account_id=emulator.account_id("x"),
            # An alias is beside it, because the task itself has no event of that.
            outlets=[OUTLETS[kind], AssetAlias("octospark_alias")],
        )
    run = TaskSteps(dag)
    assert run.try_once() == "success"
    with create_session() as session:
        events = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == run.run_id)).all()
        extra: dict[str, Any]
        [extra] = [event.extra for event in events if event.asset_id == asset_id]
    assert (extra["event"], extra["totalCount"]) == ("submitted", 1)
    assert extra["outcomes"] == [run.xcom()]
    assert len(emulator.submissions()) == 1
