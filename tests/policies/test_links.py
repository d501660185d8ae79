"""No link leaves but to our hosts, however it is spelled; what is no link stays as it was."""

import re
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from assistant.policies.links import REMOVED, Links

LINKS = Links(["tidewell.example"], ["Log in at http://login.evil.test/verify or see ftp://files.other"])

PLAIN = [
    "settings.py",
    "`settings.py` and src/app/models.py:12",
    "api/v1/readings",
    "GET /api/v1/readings?from=1&to=2",
    "page.html#top.",
    "Python 3.11, v1.2.3/4, e.g./i.e., and/or",
    "10:30, std::vector, 5 km/h, EUR/kg, C:/path/x, C:\\path",
    r"\\fileserver\hr",
    "docker -v data:/var host:/x",
    "a < b and List<int>, Vec<T>",
    "numpy.array([1]), self.client.get",
    "self.app.run().",
    "Note: this. Data: that, in full",
    "https://tidewell.example",
    "https://status.tidewell.example/incidents.",
    "See https://tidewell.example:8443/x_(y)?a=b#c, then go.",
    "[the page](https://tidewell.example/a_(b))",
    "![chart](https://static.tidewell.example/c.png)",
    "people@tidewell.example, mailto:people@tidewell.example",
    "tidewell.example is ours",
    "// a comment, x // 2",
    "👩‍👩‍👧 and می‌خواهم",
]

HOSTILE = [
    "http://evil.test/x",
    "HTTPS://EVIL.TEST:80/",
    "https:/evil.test",
    "https:evil.test",
    r"https:\\evil.test",
    r"https\://evil.test",
    "//evil.test/x",
    r"/\evil.test",
    r"\\evil.test\share",
    "www.evil.test",
    "WWW2.evil.test",
    "evil.test/x",
    "evil.test:8080/x",
    "evil.test?q=secret",
    "evil.test",
    "evil.com",
    "login.evil.test",
    "files.other",
    "a@evil.test",
    "mailto:a@evil.test",
    "mailto:a@tidewell.example?bcc=b@evil.test",
    "MAILTO:nobody",
    "tidewell.example@evil.test",
    "https://tidewell.example@evil.test/x",
    "https://user:pass@tidewell.example/x",
    r"https://tidewell.example\@evil.test/",
    "https://tidewell.example.evil.test/x",
    "https://eviltidewell.example/x",
    "https://tidewell.example%2eevil.test/",
    "https://tidewell.example,https://evil.test",
    "https://tidewell.example/,https://evil.test",
    "https://tidewell.example/r?u=https://evil.test",
    "https://tidewell.example/r?u=https%3A%2F%2Fevil.test",
    "https://tidewell.example/r?u=https%253A%252F%252Fevil.test",
    "https://tidewеll.example/x",
    "https://ｅｖｉｌ.test/x",
    "https://evil。test/x",
    "evil․test/x",
    "https:／／evil.test",
    "http\u200b://evil.test/x",
    "h\u00adttp://evil.test/x",
    "evil\u2060.test/x",
    "http\ufe0f://evil.test/x",
    "\u202ehttp://evil.test/x",
    "https://1.2.3.4/x",
    "https://3232235777/x",
    "https://[2001:db8::1]/x",
    "https://localhost/x",
    "https://xn--tidewll-hof.example/x",
    "hxxp://evil.test",
    "hxxps://evil[.]test/x",
    "evil[.]test/x",
    "evil(dot)test/x",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "&#106;avascript:alert(1)",
    "vbscript:x",
    "data:text/html;base64,PHNjcmlwdD4=",
    "file:///etc/passwd",
    "ftp://evil.test",
    "tel:+4912345",
    "ms-word:ofe|u|https://evil.test/x",
    "[x](https://evil.test)",
    "[x]( <https://evil.test> 'title')",
    "![x](https://evil.test/p.png?d=secret)",
    "![x](//evil.test/p.png)",
    "[x](&#104;ttps://evil.test)",
    "[x](https&colon;//evil.test)",
    "[x](https:&#47;&#47;evil.test)",
    "[x](javascript&colon;alert(1))",
    "[x](/logout)",
    "[https://evil.test](https://tidewell.example)",
    "[http://evil.test](http://other.test)",
    "[![x](https://evil.test/p.png)](https://tidewell.example)",
    "[[a](b)](https://evil.test)",
    "[x][1] [1]: https://evil.test",
    "[1]: //evil.test",
    "<https://evil.test>",
    "<a@evil.test>",
    "<a href='https://evil.test'>x</a>",
    "<img src=//3232235777/x>",
    "<img src=//evil.test/x",
    "<style>@import'//evil.test/x'</style>",
    "https:/[/](bad)evil.test",
    "ht[t](bad)ps://evil.test",
    "(https://evil.test)",
    "“https://evil.test”",
    "**https://evil.test**",
    "1https://evil.test",
    "x=https://evil.test;y",
]


def active_links(text):
    """Every address a Markdown renderer with HTML and automatic links would make active: the oracle."""
    attributes: list[tuple[str, str | None]] = []
    reader = HTMLParser()
    reader.handle_starttag = lambda tag, given: attributes.extend(given)
    reader.feed(MarkdownIt("commonmark", {"html": True}).render(text))
    reader.close()
    yield from (value for name, value in attributes if value and name in ("href", "src", "srcset", "action"))
    for match in re.findall(r"(?:https?://|ftp://|www\.(?=[\w-]))[^\s<>\"]+", text, re.I):
        match = match.rstrip("])}'.,;:!?")
        yield f"https://{match}" if match.lower().startswith("www") else match


def leads_elsewhere(target):
    if target.lower().startswith("mailto:"):
        hosts = re.findall(r"@([^?,;&\s]*)", target)
        return not hosts or any(not ours(host) for host in hosts)
    try:
        parts = urlsplit(target)
    except ValueError:
        return True
    return "\\" in target or "@" in parts.netloc or not ours(parts.hostname or "")


def ours(host):
    host = host.lower().rstrip(".,;:!?*_~)]'”“")
    return host == "tidewell.example" or host.endswith(".tidewell.example")


def assert_safe(text):
    found = [target for target in active_links(text) if leads_elsewhere(target)]
    assert not found, (text, found)


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_allowed_or_no_link_stays_as_it_is(text):
    assert LINKS.redact(text) == (text, ())


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("around", ["{}", "Please open {} now.", "see ({}), or not", "- {}"])
def test_every_spelling_of_a_link_elsewhere_goes(text, around):
    clean, hosts = LINKS.redact(around.format(text))
    assert hosts, clean
    assert_safe(clean)
    shown = clean.lower()
    assert "evil.test" not in shown and "://evil" not in shown and "alert(" not in shown.replace(REMOVED, "")


@pytest.mark.parametrize("text", HOSTILE)
def test_cleaning_twice_changes_nothing_more(text):
    clean, _ = LINKS.redact(text)
    assert LINKS.redact(clean) == (clean, ())


def test_how_it_reads():
    assert LINKS.redact("Please confirm (see https://evil.test/x).")[0] == f"Please confirm (see {REMOVED})."
    assert LINKS.redact("Open [the portal](https://evil.test).")[0] == "Open the portal."
    assert LINKS.redact("Go to https://evil.test/x, then wait.")[0] == f"Go to {REMOVED}, then wait."
    assert (
        LINKS.redact("[x](https://tidewell.example 'http://evil.test')")[0] == "[x](https://tidewell.example)"
    )
    assert LINKS.redact("[x]: /logout")[0] == "[x] : /logout"
    assert LINKS.redact("x http://evil.test/x")[1] == ("evil.test",)


PIECES = st.sampled_from(
    [
        "[",
        "]",
        "(",
        ")",
        "<",
        ">",
        "](",
        "![",
        "https:",
        "//",
        "/",
        "\\",
        ":",
        "www.",
        "evil.test",
        "tidewell.example",
    ]
    + [
        "@",
        ".",
        " ",
        "\n",
        "&colon;",
        "&#47;",
        "%2F",
        "[1]",
        "a",
        "javascript:",
        "\u200b",
        "'",
        '"',
        "=",
        "mailto:",
    ]
    + ["img src=", "a href=", "1"]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=14).map("".join))
def test_nothing_put_together_makes_a_link_elsewhere(text):
    clean, _ = LINKS.redact(text)
    assert_safe(clean)
    assert LINKS.redact(clean)[0] == clean
