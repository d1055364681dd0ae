"""The frame of every page: navigation, colours, the phone, the end of a session."""


def test_the_page_that_is_shown_is_marked(visit):
    page = visit("/new")
    page.wait_for_selector("header.site")
    here = page.locator("header.site nav a[aria-current=page]")
    assert here.all_inner_texts() == ["New run"]
    assert page.locator("h1").count() == 1


def test_the_keyboard_reaches_the_content_first(visit):
    page = visit("/new")
    page.wait_for_selector("header.site")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_colours_follow_the_system_until_they_are_chosen(visit):
    page = visit("/new", color_scheme="dark")
    shown = "document.documentElement.dataset.theme"
    page.wait_for_selector("button.theme[aria-pressed=true]")
    assert page.evaluate(shown) == "dark"
    page.get_by_role("button", name="Dark colours").click()
    assert page.evaluate(shown) == "light"
    page.reload()
    page.wait_for_selector("button.theme[aria-pressed=false]")
    assert page.evaluate(shown) == "light"


def test_on_a_phone_there_is_a_menu_and_nothing_to_scroll_sideways(visit):
    page = visit("/new", viewport={"width": 390, "height": 800})
    page.wait_for_selector("file-drop label")
    menu = page.get_by_role("button", name="Menu")
    assert not page.get_by_role("link", name="New run").is_visible()
    menu.click()
    assert page.get_by_role("link", name="New run").is_visible()
    page.keyboard.press("Escape")
    assert menu.get_attribute("aria-expanded") == "false"
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert page.evaluate(wide) is False


def test_the_log_in_page_takes_a_key(site, browser):
    page = browser.new_page()
    page.goto(f"{site.url}/new?x=1")
    page.get_by_label("API key").fill("sk-wrong")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("alert").wait_for()
    page.get_by_label("API key").fill(site.key())
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/new?x=1")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    page.context.close()


def test_a_page_goes_when_its_key_is_revoked(visit, site):
    key, row = site.store.keys.create("leaver")
    page = visit("/new", key=key)
    page.wait_for_selector("file-drop label")
    site.store.keys.revoke(row.id)
    page.wait_for_url("**/login", timeout=20_000)


def test_logging_out_closes_the_other_pages_of_the_session(visit):
    page = visit("/new")
    page.wait_for_selector("file-drop label")
    other = page.context.new_page()
    other.goto(page.url)
    other.wait_for_selector("file-drop label")
    page.get_by_role("button", name="Log out").click()
    other.wait_for_url("**/login")
