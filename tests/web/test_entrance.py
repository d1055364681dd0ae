"""Before the pages: sessions, other sites, headers; what is the API's stays the API's."""

import re

import httpx
import pytest


@pytest.fixture
def http(site):
    with httpx.Client(base_url=site.url) as client:
        yield client


def logged_in(site, http, **given):
    http.cookies.set("tunesmith_session", site.cookie(site.key(**given)))
    return http


# --- who may see what -----------------------------------------------------------------------------


def test_without_a_session_every_page_is_the_log_in_page(http):
    for path in ("/", "/new", "/runs/run_x", "/runs/run_x/files/report.html", "/nowhere"):
        sent = http.get(path)
        assert sent.status_code == 303 and sent.headers["location"].startswith("/login?next=%2F")
    assert http.put("/runs/new/table", headers={"origin": str(http.base_url)}).status_code == 401
    assert http.get("/_nicegui_ws/socket.io/?EIO=4&transport=polling").status_code == 303


def test_a_key_opens_a_session_and_logging_out_ends_it(site, http):
    own = {"origin": site.url}
    sent = http.post("/login", data={"key": site.key(), "next": "/new?a=b"}, headers=own)
    assert (sent.status_code, sent.headers["location"]) == (303, "/new?a=b")
    cookie = sent.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Secure" not in cookie
    assert http.get("/").status_code == 200
    assert http.get("/login/check").status_code == 204
    out = http.post("/logout", headers=own)
    assert out.headers["location"] == "/login"
    http.cookies.set("tunesmith_session", re.search("tunesmith_session=([^;]+)", cookie)[1])
    assert http.get("/").status_code == 303
    assert http.get("/login/check").status_code == 401


def test_over_https_the_cookie_is_for_https_only(site, http):
    host = site.url.removeprefix("http://")
    own = {"origin": f"https://{host}"}
    sent = http.post("/login", data={"key": site.key()}, headers=own)
    assert "; Secure" in sent.headers["set-cookie"]


def test_wrong_keys_are_refused_and_not_told_apart(site, http):
    own = {"origin": site.url}
    for key in ("sk-wrong", "", "  "):
        sent = http.post("/login", data={"key": key}, headers=own)
        assert sent.status_code == 401 and "set-cookie" not in sent.headers
    assert "Give an API key." in sent.text
    long = http.post("/login", data={"key": "x" * 10_000}, headers=own)
    assert long.status_code == 401


def test_the_first_link_logs_in_once(site, http):
    own, word = {"origin": site.url}, site.link.partition("once=")[2]
    first = http.post("/login", data={"once": word, "key": ""}, headers=own)
    http.cookies.clear()
    again = http.post("/login", data={"once": word, "key": ""}, headers=own)
    assert first.status_code in (303, 401)  # another test may have used it
    assert again.status_code == 401 and "has been used" in again.text


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/\\evil.example", "x"])
def test_nobody_is_sent_elsewhere_after_the_log_in(site, http, to):
    sent = http.post("/login", data={"key": site.key(), "next": to}, headers={"origin": site.url})
    assert sent.headers["location"] == "/"
    assert "evil" not in re.sub("value=.*?>", "", http.get("/login", params={"next": to}).text)


def test_a_revoked_key_ends_its_sessions(site, http):
    key, row = site.store.keys.create("leaver")
    http.cookies.set("tunesmith_session", site.cookie(key))
    site.store.keys.revoke(row.id)
    assert http.get("/").status_code == 303


# --- other sites ----------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["https://evil.example", "null", None])
def test_what_another_site_sends_is_refused(site, http, origin):
    headers = {"origin": origin} if origin else {}
    logged_in(site, http)
    for method, path in (("PUT", "/runs/new/table"), ("POST", "/logout"), ("POST", "/login")):
        assert http.request(method, path, headers=headers).status_code == 403
    if origin:
        assert http.get("/", headers=headers).status_code == 403


@pytest.mark.parametrize("origin", ["https://evil.example", None])
def test_a_socket_takes_a_session_and_our_own_origin(site, origin):
    def ask(**headers):
        upgrade = {
            "connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        }  # fmt: skip
        path = f"{site.url}/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
        return httpx.get(path, headers={**upgrade, **headers}).status_code

    cookie = f"tunesmith_session={site.cookie(site.key())}"
    given = {"origin": origin} if origin else {}
    assert ask(cookie=cookie, **given) == 403
    assert ask(origin=site.url) == 403


# --- headers --------------------------------------------------------------------------------------


def test_pages_say_what_they_may_do(site, http):
    logged_in(site, http)
    for path in ("/", "/login", "/nowhere"):
        sent = http.get(path)
        policy = sent.headers["content-security-policy"]
        nonce = re.search("'nonce-([^']+)'", policy)[1]
        scripts = re.findall("<script[^>]*>", sent.text)
        assert scripts and all(f'nonce="{nonce}"' in tag for tag in scripts)
        assert "unsafe-inline" not in policy.partition("style-src")[0]
        assert "frame-ancestors 'none'" in policy and "default-src 'none'" in policy
        assert sent.headers["x-frame-options"] == "DENY"
        assert sent.headers["x-content-type-options"] == "nosniff"
        assert sent.headers["referrer-policy"] == "same-origin"
        assert "openai-version" not in sent.headers
        assert not re.search(r"(src|href)=\"?https?://", sent.text)
    assert http.get("/").headers["content-security-policy"] != policy


def test_the_api_stays_as_it_is(site, http):
    logged_in(site, http)
    refused = http.get("/v1/models")
    assert refused.status_code == 401 and "error" in refused.json()  # no cookie opens the API
    assert "content-security-policy" not in refused.headers
    unknown = http.get("/v1/nowhere", headers={"authorization": f"Bearer {site.key()}"})
    assert unknown.json()["error"]["message"] == "Invalid URL (GET /v1/nowhere)"
    assert http.get("/health").json() == {"status": "ok"}
    assert http.get("/healthy").status_code == 404


def test_an_address_that_is_none_is_told_on_a_page(site, http):
    sent = logged_in(site, http).get("/nowhere")
    assert sent.status_code == 404 and "text/html" in sent.headers["content-type"]


# --- files ----------------------------------------------------------------------------------------


def test_only_members_of_the_project_give_and_get_files(site, http):
    own = {"origin": site.url}
    logged_in(site, http, role="reader")
    refused = http.put("/runs/new/table?name=a.csv", content=b"a,b\n", headers=own)
    assert refused.status_code == 403 and "may look and ask models only" in refused.json()["error"]
    logged_in(site, http)
    empty = http.put("/runs/new/table?name=a.csv", content=b"", headers=own)
    assert empty.json()["error"].startswith("The file is empty.")
    taken = http.put("/runs/new/table?name=../a.csv", content=b"text,label\n", headers=own).json()
    run = site.store.runs.get(taken["run"])
    assert taken["name"] == "a.csv" and run.state == "draft" and run.name == "a"
    there = site.settings.data_dir / "runs" / run.folder / "table" / "a.csv"
    assert there.read_bytes() == b"text,label\n"
    logged_in(site, http, project=site.project("others"))
    assert (
        http.put(f"/runs/{run.id}/table?name=b.csv", content=b"x", headers=own).status_code == 400
    )
    assert http.get(f"/runs/{run.id}/files/config.toml").status_code == 404
    assert http.get(f"/runs/{run.id}").status_code == 404


def test_files_of_a_run_are_sandboxed(site, http):
    logged_in(site, http)
    own = {"origin": site.url}
    run_id = http.put("/runs/new/table?name=a.csv", content=b"a,b\n", headers=own).json()["run"]
    report = site.settings.data_dir / "runs" / site.store.runs.get(run_id).folder / "01-prepare"
    report.mkdir()
    (report / "report.html").write_text("<script>alert(1)</script>")
    sent = http.get(f"/runs/{run_id}/files/data-report.html")
    assert sent.status_code == 200 and sent.text == "<script>alert(1)</script>"
    policy = sent.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts") and "allow-same-origin" not in policy
    for name in ("..%2f..%2ftunesmith.db", "events.jsonl", "x"):
        assert http.get(f"/runs/{run_id}/files/{name}").status_code == 404
    assert (
        "attachment" in http.get(f"/runs/{run_id}/files/config.toml").headers["content-disposition"]
    )
