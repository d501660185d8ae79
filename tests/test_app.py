"""What `app` chooses: an HTTP engine knows which base its adapters must have been trained on."""

import asyncio

import pytest

from assistant.app import build
from assistant.config import load
from assistant.errors import AdapterError
from assistant.workspace import init


def test_a_server_gets_only_adapters_of_the_configured_base(tmp_path):
    init(tmp_path / "company")
    file = tmp_path / "company" / "assistant.yaml"
    text = file.read_text()
    served = text.replace("kind: local ", "kind: http\n  url: http://127.0.0.1:9\n  model: base\n ")
    assert served != text
    file.write_text(served.replace("smollm2-135m-instruct", "qwen2.5-coder-1.5b-instruct"))
    app = build(load(file))

    async def load_champion():
        try:
            await app.engine.load(app.adapters.resolve("hr"))
        finally:
            await app.close()

    with pytest.raises(AdapterError, match="base"):
        asyncio.run(load_champion())
