"""The ``openai`` package is imported in part, and nobody can tell but by the time that it takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from necrocode.scripted import ScriptedServer

ROOT = Path(__file__).parents[3]


def python(code: str, *arguments: str) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_chat_needs_none_of_what_was_put_off() -> None:
    code = """
import sys
from datetime import timedelta
from necrocode.engine.stop import StopToken
from necrocode.llm.openai_client import OpenAIChat
from necrocode.states.ports import ChatRequest

client = OpenAIChat(model="m", api_key=lambda: "the-key", endpoint=sys.argv[1])
request = ChatRequest(messages=({"role": "user", "content": "hello"},), tools=(), max_tokens=10)
answer = client.complete(request, key="k", timeout=timedelta(seconds=30), stop=StopToken())
names = [name for name in sys.modules if name.startswith("openai.types.")]
known = {"openai": "AzureOpenAI", "openai.types": "Batch"}
run = [name for name in known if known[name] in vars(sys.modules[name])]
print(answer.text, len(names) < 10, run)
"""
    with ScriptedServer({"answers": [{"text": "hi"}]}) as server:
        assert python(code, server.url) == "hi True []"


@pytest.mark.parametrize("first", ["import openai.types.responses", "import openai"])
def test_every_name_is_there_when_it_is_asked_for(first: str) -> None:
    names = """
import openai
def reachable(package):
    return sorted(name for name in dir(package) if not name.startswith("_"))
openai.AzureOpenAI, openai.types.Batch, openai.types.responses.Response, openai.types.chat.ChatCompletion
packages = openai, openai.lib, openai.types, openai.types.responses, openai.types.chat, openai.types.shared
print(*map(reachable, packages), openai.OpenAI.__name__, openai.Stream.__name__)
"""
    put_off = f"from necrocode.llm.openai_package import import_openai\nimport_openai()\n{first}\n"
    assert python(put_off + names) == python("import openai.types.responses" + names)


@pytest.mark.parametrize("where", ["_nowhere", "_version"])
def test_a_name_that_another_release_has_elsewhere_is_found(where: str) -> None:
    code = """
import sys
from necrocode.llm import openai_package
openai_package._USED["openai"]["OpenAI"] = sys.argv[1]
openai_package.import_openai()
import openai
print(openai.OpenAI.__name__, "AzureOpenAI" in vars(openai))
"""
    assert python(code, where) == "OpenAI True"


def test_all_names_of_a_package_can_be_asked_for_at_once() -> None:
    code = """
from necrocode.llm.openai_package import import_openai
import_openai()
from openai.types import *
from openai.types.responses import *
print(Batch.__name__, Response.__name__)
"""
    assert python(code) == "Batch Response"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    code = """
from necrocode.llm.openai_package import import_openai
import_openai()
import openai
print(hasattr(openai.types, "nonsense"), hasattr(openai.types, "Batch"))
"""
    assert python(code) == "False True"


def test_a_program_that_has_the_package_keeps_it() -> None:
    code = """
import sys
import openai.types
before = dict(sys.modules)
from necrocode.llm.openai_package import import_openai
import_openai()
print(all(sys.modules[name] is before[name] for name in before))
"""
    assert python(code) == "True"


def test_threads_that_ask_at_once_all_get_it() -> None:
    code = """
from concurrent.futures import ThreadPoolExecutor
from necrocode.llm.openai_package import import_openai
import_openai()
import openai
with ThreadPoolExecutor(4) as pool:
    print(set(pool.map(lambda _: openai.types.Batch.__name__, range(8), timeout=60)))
"""
    assert python(code) == "{'Batch'}"
