"""The files of the pages and /openapi.json: nothing in them comes from elsewhere."""

import re

import pytest

from tests.serve.test_endpoints import POSTS

# The one address of elsewhere: what a link opens when somebody clicks it.
ELSEWHERE = {"http://www.w3.org/2000/svg", "https://en.wikipedia.org/w/index.php"}
PAGES = "page.css page.js viewer.js common.js icon.svg docs redoc docs.css docs.js".split()


@pytest.mark.parametrize("name", ["", *PAGES])
def test_pages_load_nothing_from_elsewhere(client, name):
    answer = client.get(f"/{name}")
    assert answer.status_code == 200
    assert set(re.findall(r"\w+://[^\s\"'?]*", answer.text)) <= ELSEWHERE
    assert 'src="//' not in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_openapi(client):
    document = client.get("/openapi.json").json()
    for name in POSTS:
        content = document["paths"][f"/{name}"]["post"]["requestBody"]["content"]
        assert "multipart/form-data" in content
    assert "Found" in document["components"]["schemas"]
    assert list(document["paths"]["/photo/{row}"]["get"]["responses"]["200"]["content"]) == [
        "image/jpeg"
    ]


@pytest.mark.parametrize("path", ["/", "/docs", "/health", "/thumbnail/0", "/photo/0"])
def test_heads(client, path):
    """Checks of availability often ask for the head alone."""
    whole, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert dict(head.headers) == dict(whole.headers)
    assert client.head("/thumbnail/99").status_code == 404
    assert "head" not in client.get("/openapi.json").json()["paths"].get(path, {})
