"""A small OpenAI-compatible server on loopback that plays a recorded conversation: for the demo and for tests.

The script is a JSON document::

    {
      "model": "scripted",                       // reported in each answer; "scripted" if missing
      "key": "secret",                           // any other bearer token gets 401; any is taken if missing
      "answers": [ANSWER, ...],                  // answers[n] goes to a request that holds n assistant messages
      "forever": false,                          // true: after the last answer comes the last answer again, without end
      "conversations": [                         // instead of "answers", for several tasks at once:
        {"when": "task 7", "answers": [...]}     // the first one whose "when" is in the request's messages
      ]
    }

``ANSWER``::

    {
      "text": "Let me look.",                    // the message's content
      "tool_calls": [                            // "arguments": an object, or a string sent as it is (broken JSON, say)
        {"name": "read_file", "arguments": {"path": "a.py"}}
      ],
      "usage": {"prompt_tokens": 9, "completion_tokens": 3},   // null: no usage in the answer; missing: estimated
      "finish_reason": "tool_calls",             // else "tool_calls" with calls, "stop" without
      "delay_seconds": 0,                        // waited before the answer is sent
      "faults": [FAULT, ...],                    // played first, one a request, before the answer itself is given
      "always": false                            // true: the last fault comes for ever, the answer never
    }

``FAULT``, one of::

    {"status": 429, "headers": {"Retry-After": "2"}, "body": {"error": {"message": "slow down"}}}
    {"cut": true}                                // the connection ends in the middle of the answer
    {"raw": "<html>"}                            // status 200 (or "status") and a body that is no JSON
    {"body": {"id": "x", "choices": []}}         // status 200 and whatever JSON
    {"hang_seconds": 30}                         // silence, then the connection is closed

each with an optional ``delay_seconds``. The answer is chosen by the number of assistant messages in the request, never
by counting requests, so that a runner that was killed and resumed gets what it asks for.
"""

from __future__ import annotations

from necrocode.scripted.script import Script, ScriptError
from necrocode.scripted.server import ScriptedServer, SeenRequest

__all__ = ["Script", "ScriptError", "ScriptedServer", "SeenRequest"]
