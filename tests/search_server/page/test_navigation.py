"""The bar: the views, the galleries, what computes; and where it leads from the views of the server."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.search_server.conftest import Server
from tests.search_server.page.conftest import PHONE, Visit, tiles

pytestmark = pytest.mark.browser


def test_the_gallery_switch_keeps_the_view(visit: Callable[..., Visit]):
    page = visit().open()
    page.get_by_role("navigation", name="Views").get_by_role("link", name="Browse").click()
    switch = page.locator(".galleries")
    switch.locator("summary").click()
    switch.get_by_role("link", name="foreign").click()
    expect(page).to_have_url(re.compile("/g/foreign/browse$"))
    expect(page.locator(".galleries summary")).to_have_text("foreign")


def test_a_view_of_the_server_leads_back_into_the_gallery_the_reader_came_from(visit: Callable[..., Visit]):
    page = visit().open("browse", "foreign")
    page.get_by_text("More", exact=True).click()
    page.locator(".more").get_by_role("link", name="About").click()
    expect(page).to_have_url(re.compile(r"/about\?gallery=foreign$"))
    expect(page.get_by_role("heading", name="All is well")).to_be_visible()
    expect(page.locator(".more")).not_to_have_attribute("open", "")
    page.reload()
    page.get_by_role("button", name="Check again").or_(page.get_by_role("link", name="Check again")).click()
    expect(page.locator("#announcements")).to_have_text("Checked again. All is well")
    page.get_by_role("link", name="Browse").first.click()
    expect(page).to_have_url(re.compile("/g/foreign/browse$"))
    page.go_back()
    expect(page.get_by_role("heading", name="Nothing leaves this machine")).to_be_visible()


def test_menus_close_by_escape_and_by_a_click_elsewhere(visit: Callable[..., Visit]):
    page = visit().open()
    engine = page.locator(".engine")
    engine.locator("summary").click()
    expect(engine.get_by_text("Computes on")).to_be_visible()
    page.keyboard.press("Escape")
    expect(engine.get_by_text("Computes on")).to_be_hidden()
    expect(engine.locator("summary")).to_be_focused()
    engine.locator("summary").click()
    page.locator(".galleries summary").click()  # one menu at a time
    expect(engine.get_by_text("Computes on")).to_be_hidden()
    page.locator("main h1").click()
    expect(page.locator(".galleries")).not_to_have_attribute("open", "")


def test_on_a_phone_the_other_views_are_in_a_sheet_at_the_thumb(visit: Callable[..., Visit]):
    page = visit(PHONE).open()
    page.get_by_text("More", exact=True).tap()
    about = page.locator(".more").get_by_role("link", name="About")
    box = about.bounding_box()
    assert box is not None
    assert box["y"] > PHONE["height"] / 2
    about.tap()
    expect(page).to_have_url(re.compile("/about$"))
    page.get_by_role("link", name="Search", exact=True).tap()
    expect(tiles(page).first).to_be_visible()


def test_without_javascript_the_menus_open_too(visit: Callable[..., Visit]):
    reader = visit(java_script_enabled=False)
    page = reader.page
    page.goto(f"{reader.origin}/g/foreign/")
    page.get_by_text("More", exact=True).click()
    page.locator(".more").get_by_role("link", name="About").click()
    expect(page.get_by_role("heading", name="All is well")).to_be_visible()
    expect(page.get_by_role("link", name="Browse")).to_have_attribute("href", "/g/foreign/browse")


def test_a_gallery_that_is_not_there_is_said_in_the_page_and_others_are_offered(page_server: Server):
    answer = page_server.get("/g/nothing/browse", headers={"Accept": "text/html"})
    assert answer.status == 404
    assert b'href="/g/drawings/"' in answer.body
    assert b">About<" in answer.body
