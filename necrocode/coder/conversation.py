"""The conversation as a pure fold over recorded results: what was said, what comes next, when it is stuck.

The same :meth:`Conversation.take` builds it live, on a replay after a crash, and from earlier attempts of the run. It
reads no clock and nothing of the slot, so the same results always give the same next step.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from necrocode.coder import briefing
from necrocode.coder.document import RESPONSE_FORMAT, as_plain, read_document
from necrocode.coder.settings import CoderSettings
from necrocode.coder.spending import Spending
from necrocode.coder.tools.offer import TOOLS, Malformed, parse
from necrocode.coder.tools.written_edits import edits_in
from necrocode.engine.errors import TaskError
from necrocode.states.ports import ChatRequest

BRIEF = "coder.brief"
CHAT = "llm.chat"
TOOL = "tool."

PLAIN_ANSWERS = 3
MALFORMED_CALLS = 3
SAME_CALLS_NUDGE = 4
SAME_CALLS_STUCK = 6
#: Answers in a row of which file tools refused calls and did none. A command that fails is no error: tests do, until
#: they pass.
ERRORS_NUDGE = 5
ERRORS_STUCK = 10
#: How often a conversation that has grown too long is condensed; each time fewer messages stay whole.
CONDENSE = (20, 8, 3)
_CONDENSED_CHARACTERS = 200
_SUMMARY_CHARACTERS = 4000


@dataclass(frozen=True, slots=True)
class Ask:
    """Next: ask the model :meth:`Conversation.request`, which is built only when it is really sent."""

    #: 1 for the first answer of the run.
    turn: int
    #: Tokens that the answer may have.
    answer_tokens: int
    messages: int
    #: Of all messages so far, for audit.
    digest: str


@dataclass(frozen=True, slots=True)
class Use:
    """Next: carry out a tool call."""

    #: 1 for the first call of the run.
    number: int
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Done:
    """Next: nothing, the model has finished."""

    summary: str


NextStep: TypeAlias = Ask | Use | Done


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that waits for its turn. ``error`` instead of arguments: it cannot be carried out, and says why."""

    id: str
    name: str
    arguments: Mapping[str, Any]
    error: str = ""


class Conversation:
    """One run's conversation with the model, over all its attempts.

    ``base_tree`` is the tree of the recorded base: finishing with it means that nothing has changed. ``task_tokens`` is
    the task's own limit.
    """

    def __init__(self, settings: CoderSettings, *, base_tree: str, task_tokens: int | None = None) -> None:
        self._settings = settings
        self._base_tree = base_tree
        self._task_tokens = task_tokens
        self._messages: list[dict[str, Any]] = []
        self._bytes = 0
        self._digest = hashlib.sha256()
        self._json = settings.tool_mode == "json"
        self._response_format = True
        self._queue: deque[_Call] = deque()
        self._explanation: str | None = None
        self._results: list[str] = []
        self._failed_operations = False
        self._calls = 0
        self._condensed = 0
        self._ever_called = False
        self._stuck: str | None = None
        self._forget_habits()
        self.summary: str | None = None
        self.spending = Spending()
        #: The last recorded snapshot; ``None`` before the first message.
        self.tree: str | None = None

    def next(self) -> NextStep:
        """What to do now. :class:`TaskError`: ``stuck``, ``budget``, ``context_overflow``."""
        if self._stuck is not None:
            raise TaskError(self._stuck, stop_reason="stuck")
        if self.summary is not None:
            return Done(self.summary)
        if self._queue:
            call = self._queue[0]
            return Use(self._calls + 1, call.name, call.arguments)
        if self._condensed > len(CONDENSE):
            raise TaskError(
                "The conversation is too long for the model, condensed as far as it goes. "
                "Use a model with a larger context, or split the task.",
                stop_reason="context_overflow",
            )
        return self._ask()

    def request(self, ask: Ask) -> ChatRequest:
        """The request that ``ask`` stands for. Its messages must not be changed."""
        if not self._json:
            return ChatRequest(list(self._messages), _FUNCTIONS, ask.answer_tokens)
        response_format = RESPONSE_FORMAT if self._response_format else None
        return ChatRequest(as_plain(self._messages), (), ask.answer_tokens, response_format)

    def take(self, name: str, result: Any) -> None:
        """Go on with a recorded result. Names that are not the coder's are passed over."""
        if name == BRIEF:
            self._take_brief(result)
        elif name == CHAT and "refused" in result:
            self._take_refusal(result["refused"])
        elif name == CHAT:
            self._take_answer(result)
        elif name.startswith(TOOL):
            self._take_tool_result(result)

    # --- what comes in

    def _take_brief(self, result: Mapping[str, Any]) -> None:
        if not self._messages:
            self._append({"role": "system", "content": result["system"]})
        self._say(result["user"])
        self.tree = result["snapshot"]
        self.summary = None
        self._stuck = None
        self._forget_habits()

    def _take_refusal(self, what: str) -> None:
        if what == "tools":
            self._switch_to_json()
        elif what == "format":
            self._response_format = False
        elif what == "context":
            if self._condensed < len(CONDENSE):
                self._condense(keep=CONDENSE[self._condensed])
            self._condensed += 1

    def _take_answer(self, answer: Mapping[str, Any]) -> None:
        self.spending = self.spending.plus(answer)
        cut = answer["finish_reason"] == "length"
        if self._json:
            self._take_document(answer["text"], cut=cut)
        elif answer["tool_calls"]:
            self._take_calls(answer, cut=cut)
        else:
            self._take_plain(answer["text"], cut=cut)

    def _take_calls(self, answer: Mapping[str, Any], *, cut: bool) -> None:
        self._plain = 0
        self._ever_called = True
        calls = [
            self._checked(call, number, cut=cut and number == len(answer["tool_calls"]))
            for number, call in enumerate(answer["tool_calls"], 1)
        ]
        said = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": _named(call.name), "arguments": _sent(call, written["arguments"])},
            }
            for call, written in zip(calls, answer["tool_calls"], strict=True)
        ]
        self._append({"role": "assistant", "content": answer["text"] or None, "tool_calls": said})
        self._queue.extend(calls)
        self._settle_queue()

    def _take_plain(self, text: str, *, cut: bool) -> None:
        self._append({"role": "assistant", "content": text or "(an empty answer)"})
        if not cut and self._take_written_edits(text):
            return
        self._plain += 1
        if self._plain >= PLAIN_ANSWERS:
            self._stuck = (
                f"The model gave {self._plain} answers in a row without calling a tool; the last: {text[:200]!r}"
            )
        elif self._plain == 2 and self._settings.tool_mode == "auto" and not self._ever_called:
            # an endpoint that takes the tools and passes none of them on to the model
            self._switch_to_json()
            self._plain = 0
            self._say("Answer with one JSON document, as described above.")
        elif cut:
            self._say("Your answer was cut at its longest length. Call a tool right away, with less text.")
        else:
            self._say("That was no tool call. Go on by calling a tool; if the task is done, call finish.")

    def _take_written_edits(self, text: str) -> bool:
        """Have edits carried out that stand in the text of an answer; whether there were any."""
        try:
            edits = edits_in(text)
        except Malformed as error:
            self._note_malformed(str(error))
            self._say(f"{error} Better call a tool.")
            return True
        self._queue.extend(_Call("", name, arguments) for name, arguments in edits)
        if edits:
            self._plain = 0
        return bool(edits)

    def _take_document(self, text: str, *, cut: bool) -> None:
        self._append({"role": "assistant", "content": text or "(an empty answer)"})
        try:
            document = read_document(text)
        except Malformed as error:
            cause = "Your answer was cut at its longest length; change fewer files at once." if cut else str(error)
            self._note_malformed(cause)
            self._say(cause)
            return
        self._malformed = 0
        self._failed_operations = False
        self._explanation = document.explanation if document.changes else None
        self._queue.extend(_Call("", name, arguments) for name, arguments in document.operations)
        if not self._queue:
            self._end_document()

    def _take_tool_result(self, result: Mapping[str, Any]) -> None:
        call = self._queue.popleft()
        self._calls += 1
        self._malformed = 0
        tree = result.get("snapshot") or self.tree
        if tree != self.tree:
            self._same.clear()
        self.tree = tree
        content = str(result["content"])
        content += self._note_repetition(call, content) or self._note_errors(call, content, ok=result.get("ok", True))
        if call.id:
            self._answer_call(call, content)
            self._settle_queue()
            return
        self._results.append(content)
        self._failed_operations |= not result.get("ok", True)
        if self._queue:
            return
        if self._json:
            self._end_document()
        else:
            self._end_written_edits()

    # --- tools

    def _checked(self, call: Mapping[str, Any], number: int, *, cut: bool) -> _Call:
        # some endpoints give no ids, or the same one twice
        identity = f"call_{self.spending.turns}_{number}"
        try:
            if cut:
                # never repaired: a file would be written by half
                _strictly(call["arguments"])
            return _Call(identity, call["name"], parse(call["name"], call["arguments"]))
        except Malformed as error:
            return _Call(identity, call["name"], {}, error=str(error))

    def _settle_queue(self) -> None:
        """Answer the calls at the head of the queue that need nobody: broken ones, and ``finish``."""
        while self._queue and (self._queue[0].error or self._queue[0].name == "finish"):
            call = self._queue.popleft()
            if call.error:
                self._note_malformed(call.error)
                self._answer_call(call, f"Error: {call.error}")
            elif self._may_finish():
                self._answer_call(call, "The tests are run now.")
                self.summary = str(call.arguments["summary"])[:_SUMMARY_CHARACTERS]
                for rest in self._queue:
                    self._answer_call(rest, "Not done: finish came before it.")
                self._queue.clear()
            else:
                self._answer_call(call, _NOTHING_CHANGED + " If that is right, call finish again.")

    def _answer_call(self, call: _Call, content: str) -> None:
        self._append({"role": "tool", "tool_call_id": call.id, "content": content})

    def _end_written_edits(self) -> None:
        results, self._results = self._results, []
        told = "What you wrote was carried out:\n" + "\n\n".join(results)
        self._say(f"{told}\n\nGo on by calling a tool; if the task is done, call finish.")

    # --- documents

    def _end_document(self) -> None:
        results, self._results = self._results, []
        if self._explanation is not None and not self._failed_operations:
            if self._may_finish():
                self.summary = self._explanation[:_SUMMARY_CHARACTERS]
                return
            results.append(_NOTHING_CHANGED + " If that is right, send an empty list of code_changes again.")
        self._say("\n\n".join(results))

    def _switch_to_json(self) -> None:
        self._json = True
        self._messages[0] = {"role": "system", "content": briefing.system_prompt("json")}

    # --- habits that end a run

    def _forget_habits(self) -> None:
        self._plain = 0
        self._malformed = 0
        #: Turns whose calls were refused since the last one that was not.
        self._refused: set[int] = set()
        self._told_unchanged = False
        #: Calls with their results since the files last changed.
        self._same: Counter[str] = Counter()

    def _note_malformed(self, cause: str) -> None:
        self._malformed += 1
        if self._malformed >= MALFORMED_CALLS:
            self._stuck = f"The model made {self._malformed} malformed calls in a row; the last: {cause}"

    def _note_repetition(self, call: _Call, content: str) -> str:
        # times differ from run to run, and are not what makes a result another one
        told = re.sub(r"\d+\.\d+", "#", content)
        key = hashlib.sha256(
            f"{call.name}\0{_canonical(call.arguments)}\0{told}".encode("utf-8", "replace")
        ).hexdigest()
        self._same[key] += 1
        times = self._same[key]
        if times >= SAME_CALLS_STUCK:
            self._stuck = f"The model made the same call of {call.name} with the same result {times} times."
        if times >= SAME_CALLS_NUDGE:
            return f"\n\n(You have made this call {times} times with the same result. Do something else.)"
        return ""

    def _note_errors(self, call: _Call, content: str, *, ok: bool) -> str:
        if ok or call.name == "bash":
            self._refused.clear()
            return ""
        self._refused.add(self.spending.turns)
        times = len(self._refused)
        if times >= ERRORS_STUCK:
            self._stuck = (
                f"The calls of {times} answers in a row were refused; the last, of {call.name}: {content[:200]}"
            )
        if times >= ERRORS_NUDGE:
            return f"\n\n(The calls of {times} answers in a row were refused. Read the files again.)"
        return ""

    def _may_finish(self) -> bool:
        if self.tree != self._base_tree or self._told_unchanged:
            return True
        self._told_unchanged = True
        return False

    # --- what goes out

    def _ask(self) -> Ask:
        prompt_tokens = -(-(self._bytes + _FUNCTION_BYTES) // 4)
        answer_tokens = self.spending.allowance(self._settings, self._task_tokens, prompt_tokens)
        return Ask(self.spending.turns + 1, answer_tokens, len(self._messages), self._digest.hexdigest()[:16])

    def _append(self, message: dict[str, Any]) -> None:
        # counted and hashed once, as it comes: a replay of many turns must not write out the whole at each
        written = _written(message)
        self._bytes += len(written)
        self._digest.update(written)
        self._messages.append(message)

    def _say(self, text: str) -> None:
        self._append({"role": "user", "content": text})

    def _condense(self, *, keep: int) -> None:
        """Shorten results and arguments of all but the first two and the last ``keep`` messages, for good."""
        for message in self._messages[2 : max(2, len(self._messages) - keep)]:
            content = message.get("content") or ""
            if message["role"] in ("tool", "user") and len(content) > _CONDENSED_CHARACTERS:
                left = len(content) - _CONDENSED_CHARACTERS
                message["content"] = f"{content[:_CONDENSED_CHARACTERS]}\n({left} characters left out to save space)"
            for call in message.get("tool_calls", ()):
                function = call["function"]
                if len(function["arguments"]) > 2 * _CONDENSED_CHARACTERS:
                    function["arguments"] = _canonical({"left_out": f"{len(function['arguments'])} characters"})
        self._bytes = sum(len(_written(message)) for message in self._messages)


_NOTHING_CHANGED = "Nothing has changed in the repository yet."
_FUNCTIONS = tuple(tool.as_function() for tool in TOOLS.values())


def _written(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True).encode("utf-8", "replace")


_FUNCTION_BYTES = len(_written(_FUNCTIONS))


def _strictly(arguments: str) -> None:
    try:
        json.loads(arguments)
    except ValueError:
        raise Malformed(
            "Your answer was cut at its longest length, so this call was not made. "
            "Write less at once: several small edits."
        ) from None


def _sent(call: _Call, written: str) -> str:
    """The call's arguments for the conversation: always a JSON object, since some endpoints refuse what is not."""
    try:
        if isinstance(json.loads(written), dict):
            return written
    except (ValueError, RecursionError):
        if not call.error:
            return _canonical(call.arguments)
    return _canonical({"malformed": written[:_CONDENSED_CHARACTERS]})


def _named(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64] or "unnamed"


def _canonical(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
