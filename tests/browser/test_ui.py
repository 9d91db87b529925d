"""From an empty Airflow to published posts, as a user does it. Leaves screenshots behind if asked to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_octospark.get_provider_info import get_provider_info
from tests.docs.pages import README, blocks_of
from tests.system.demo import EXAMPLE_DAGS
from tests.system.emulated import EmulatorProcess
from tests.system.stack import AirflowStack


def _major(command: str) -> str:
    said = subprocess.run([command, "--version"], capture_output=True, text=True, check=False).stdout
    return said.partition(".")[0].rpartition(" ")[2]


def _browser_of(driver: str | None) -> str | None:
    """Return a browser of the driver's version; a machine may have several."""
    found = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    return next((each for each in found if driver is not None and _major(each) == _major(driver)), None)


DRIVER = shutil.which("chromedriver")
CHROMIUM = _browser_of(DRIVER)
if CHROMIUM is None or DRIVER is None:
    pytest.skip("needs Chromium and its driver (Debian: chromium, chromium-driver)", allow_module_level=True)
selenium = pytest.importorskip("selenium", reason="needs selenium: pip install selenium")

from selenium import webdriver  # noqa: E402 - only where it is installed
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

PATIENCE = 180.0
IMAGES = os.environ.get("OCTOSPARK_SCREENSHOTS")
"""The folder for screenshots; without it none are kept."""

CAMPAIGN_AFTER = timedelta(seconds=60)
"""When the campaign publishes: late enough for its sensors to be seen deferred."""

[FORM] = get_provider_info()["connection-types"]

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--window-size=1280,860",
    # The link of the task leads out into the team; the test does not.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


class Page:
    """A browser, and what a user does with it."""

    def __init__(self, driver: Any, base_url: str) -> None:
        self._driver = driver
        self._base_url = base_url

    def open(self, path: str) -> None:
        """Go to a page of Airflow, or to a whole address."""
        self._driver.get(path if "://" in path else f"{self._base_url}{path}")

    def until(self, look: Callable[[Any], Any]) -> Any:
        """Wait until a poll at the page finds something."""
        ignored = (selenium.common.exceptions.WebDriverException,)
        try:
            return WebDriverWait(self._driver, PATIENCE, 0.2, ignored_exceptions=ignored).until(look)
        except selenium.common.exceptions.TimeoutException:
            self.keep("trouble")
            raise

    def see(self, xpath: str) -> Any:
        """Wait for an element that is shown."""
        return self.until(
            lambda driver: next((e for e in driver.find_elements(By.XPATH, xpath) if e.is_displayed()), None)
        )

    def click(self, xpath: str) -> None:
        """Click on an element as soon as it can be clicked."""

        def click(driver: Any) -> bool:
            found = [e for e in driver.find_elements(By.XPATH, xpath) if e.is_displayed() and e.is_enabled()]
            for element in found[:1]:
                element.click()
            return bool(found)

        self.until(click)

    def names(self) -> dict[str, str]:
        """The named fields that are there, with their placeholders."""
        fields = self._driver.find_elements(By.XPATH, "//*[@role='dialog']//*[@name]")
        return {field.get_attribute("name"): field.get_attribute("placeholder") or "" for field in fields}

    def write(self, name: str, text: str) -> None:
        """Fill a field in."""
        self.see(f"//*[@name='{name}']").send_keys(text)

    def keep(self, name: str) -> None:
        """Keep a picture of what is shown."""
        if IMAGES:
            Path(IMAGES).mkdir(parents=True, exist_ok=True)
            self._driver.save_screenshot(str(Path(IMAGES) / f"{name}.png"))


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorProcess]:
    with EmulatorProcess() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowStack]:
    """An Airflow with the README's DAG, an example, and no connection."""
    dags = tmp_path_factory.mktemp("dags")
    [block] = [each for each in blocks_of(README) if each.language == "python"]
    (dags / "first_post.py").write_text(block.text)
    shutil.copy(EXAMPLE_DAGS / "octospark_campaign.py", dags)
    with AirflowStack(dags, env={"AIRFLOW__CORE__TEST_CONNECTION": "Enabled"}) as stack:
        stack.wait_for_dags(["first_post", "octospark_campaign"])
        yield stack


@pytest.fixture(scope="module")
def page(stack: AirflowStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_page_load_timeout(PATIENCE)
    try:
        page = Page(driver, stack.base_url)
        page.open("/")
        page.write("username", stack.username)
        page.write("password", stack.password)
        page.click("//button[@type='submit']")
        page.see("//*[normalize-space()='Dags']")
        yield page
    finally:
        driver.quit()


def test_from_an_empty_airflow_to_published_posts(page: Page, stack: AirflowStack, emulator: EmulatorProcess) -> None:
    _create_the_connection(page, emulator)
    _test_the_connection(page)
    _run_the_dag(page, stack)
    [publication] = emulator.control.publications()
    _follow_the_link(page, stack, publication)
    _watch_a_campaign(page, stack, emulator)
    _see_what_has_arrived(page, emulator, publication)


def _create_the_connection(page: Page, emulator: EmulatorProcess) -> None:
    address = urlsplit(emulator.base_url)
    connection = json.loads(emulator.connection)
    page.open("/connections")
    page.click("//button[contains(., 'Add Connection')]")
    page.write("connection_id", "octospark_default")
    kind = page.see("//*[@role='dialog']//input[@role='combobox']")
    kind.send_keys("Octospark")
    page.see("//*[@role='option'][contains(., 'Octospark')] | //*[contains(@id, '-option-')][contains(., 'Octospark')]")
    kind.send_keys(Keys.ENTER)
    behaviour = FORM["ui-field-behaviour"]
    for label in behaviour["relabeling"].values():
        page.see(f"//*[@role='dialog']//*[normalize-space()='{label}']")
    page.write("host", f"http://{address.hostname}")
    page.write("port", str(address.port))
    page.write("password", connection["password"])
    page.keep("connection")
    page.click("//button[normalize-space()='Extra Fields']")
    for field in FORM["conn-fields"].values():
        page.see(f"//*[@role='dialog']//*[normalize-space()='{field['label']}']")
        page.see(f'//*[@role="dialog"]//*[normalize-space()="{field["description"]}"]')
    shown = page.names()
    assert behaviour["placeholders"].items() <= shown.items()
    assert {f"element_{name}" for name in FORM["conn-fields"]} <= shown.keys()
    assert shown.keys().isdisjoint(behaviour["hidden-fields"])
    page.write("element_team_id", connection["extra"]["team_id"])
    page.keep("connection-extra")
    page.click("//button[normalize-space()='Save']")
    page.see("//td[normalize-space()='octospark_default']")


def _test_the_connection(page: Page) -> None:
    page.open("/connections")
    page.click("//button[@aria-label='Test Connection']")
    told = page.see("//*[@data-scope='toast'][@data-part='root'][contains(., 'Test Connection')]").text
    assert "The key sees Northwind Data" in told


def _run_the_dag(page: Page, stack: AirflowStack) -> None:
    page.open("/dags/first_post")
    page.click("//*[@data-testid='trigger-dag-button']")
    page.click("//*[@data-testid='trigger-dag-submit']")
    runs = page.until(lambda _: stack.rest.call("GET", "/dags/first_post/dagRuns")["dag_runs"])
    assert stack.rest.wait_for_run("first_post", runs[0]["dag_run_id"], PATIENCE) == "success"


def _follow_the_link(page: Page, stack: AirflowStack, publication: dict[str, Any]) -> None:
    [run] = stack.rest.call("GET", "/dags/first_post/dagRuns")["dag_runs"]
    page.open(f"/dags/first_post/runs/{run['dag_run_id']}/tasks/publish/details")
    link = page.see("//a[contains(., 'Published post')]")
    assert link.get_attribute("href") == f"https://x.com/i/web/status/{publication['platform_post_id']}"
    page.keep("link")


def _watch_a_campaign(page: Page, stack: AirflowStack, emulator: EmulatorProcess) -> None:
    accounts = {each["provider"]: each["id"] for each in emulator.social_accounts if each["status"] == "connected"}
    providers = ("youtube", "tiktok", "threads", "linkedin")
    conf = {
        "scheduled_at": (datetime.now(UTC) + CAMPAIGN_AFTER).isoformat(timespec="seconds"),
        "targets": [
            {"post_id": post["id"], "social_account_id": accounts[provider]}
            for post, provider in zip(emulator.posts[1:], providers, strict=False)
        ],
    }
    run_id = stack.rest.trigger("octospark_campaign", conf)
    page.open(f"/dags/octospark_campaign/runs/{run_id}")
    page.click("//button[starts-with(@aria-label, 'Show Graph')]")
    page.see("//*[@data-testid='rf__wrapper']//*[normalize-space()='deferred']")
    page.keep("graph")
    assert stack.rest.wait_for_run("octospark_campaign", run_id, PATIENCE) == "success"


def _see_what_has_arrived(page: Page, emulator: EmulatorProcess, publication: dict[str, Any]) -> None:
    page.open(emulator.base_url)
    assert len(emulator.control.publications()) == 5
    page.see("//tr[contains(., 'YouTube')]//*[normalize-space()='published']")
    page.keep("emulator")
    page.click(f"//td//a[normalize-space()='{publication['platform_post_id']}']")
    page.see("//p[contains(., 'Release 2.4 is out')]")
