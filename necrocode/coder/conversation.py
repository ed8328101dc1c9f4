"""The conversation as a pure fold over recorded results: what was said, what comes next, when it is stuck.

The same :meth:`Conversation.take` builds it live, on a replay after a crash, and from earlier attempts of the run. It
reads no clock and nothing of the slot, so the same results always give the same next step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from necrocode.coder import actions, briefing, document
from necrocode.coder.calls import Call, meant, without_thoughts
from necrocode.coder.habits import MALFORMED_CALLS, Habits
from necrocode.coder.settings import CoderSettings, Mode
from necrocode.coder.spending import Spending
from necrocode.coder.terms import Terms
from necrocode.coder.tools.offer import Malformed
from necrocode.coder.tools.written_edits import edits_in, one_by_one
from necrocode.coder.transcript import FUNCTIONS, Transcript, canonical
from necrocode.engine.errors import TaskError
from necrocode.states.ports import ChatRequest

BRIEF = "coder.brief"
CHAT = "llm.chat"
TOOL = "tool."

#: How an answer's mode was chosen before briefs recorded it.
_OLDER_LADDER: tuple[Mode, ...] = ("tools", "json")
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


class Conversation:
    """One run's conversation with the model, over all its attempts.

    ``base_tree`` is the tree of the recorded base: finishing with it means that nothing has changed. ``task_tokens`` is
    the task's own limit.
    """

    def __init__(self, settings: CoderSettings, *, base_tree: str, task_tokens: int | None = None) -> None:
        self._settings = settings
        self._base_tree = base_tree
        self._task_tokens = task_tokens
        self._transcript = Transcript()
        #: The present way of asking, and those that are still to be tried.
        self._modes: tuple[Mode, ...] = (settings.tool_mode,) if settings.tool_mode != "auto" else _OLDER_LADDER
        self._response_format = True
        #: Whether a patch is one call a file; runs that began with earlier revisions take it hunk by hunk.
        self._whole_patches = False
        self._reasoning = True
        self._queue: deque[Call] = deque()
        self._explanation: str | None = None
        self._results: list[str] = []
        self._failed_operations = False
        self._calls = 0
        self._shown_bytes = 0
        self._ever_called = False
        self._told_unchanged = False
        self._habits = Habits()
        self.terms = Terms.of(settings)
        self.summary: str | None = None
        self.spending = Spending()
        #: The last recorded snapshot; ``None`` before the first message.
        self.tree: str | None = None

    @property
    def mode(self) -> Mode:
        """How the model is asked now."""
        return self._modes[0]

    def next(self) -> NextStep:
        """What to do now. :class:`TaskError`: ``stuck``, ``budget``, ``context_overflow``."""
        if self._habits.stuck is not None:
            raise TaskError(self._habits.stuck, stop_reason="stuck")
        if self.summary is not None:
            return Done(self.summary)
        if self._queue:
            self.spending.check_calls(self._settings, self._calls, self._shown_bytes)
            call = self._queue[0]
            return Use(self._calls + 1, call.name, call.arguments)
        return self._ask()

    def request(self, ask: Ask) -> ChatRequest:
        """The request that ``ask`` stands for. Its messages must not be changed."""
        if self.mode == "tools":
            return ChatRequest(list(self._transcript.messages), FUNCTIONS, ask.answer_tokens)
        schema = actions.RESPONSE_FORMAT if self.mode == "actions" else document.RESPONSE_FORMAT
        plain = document.as_plain(self._transcript.messages)
        return ChatRequest(plain, (), ask.answer_tokens, schema if self._response_format else None)

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
        if not self._transcript.messages:
            self._transcript.append({"role": "system", "content": result["system"]})
            self._modes = tuple(result.get("modes", self._modes))
            self._whole_patches = bool(result.get("whole_patches"))
            self.terms = Terms.from_json(result["terms"]) if "terms" in result else self.terms
        self._transcript.say(result["user"])
        self.tree = result["snapshot"]
        self.summary = None
        self._told_unchanged = False
        self._habits = Habits()

    def _take_refusal(self, what: str) -> None:
        if what == "tools" and self.mode == "tools":
            self._change_mode()
        elif what == "format":
            self._response_format = False
            if self.mode == "actions" and len(self._modes) > 1:
                self._change_mode()
        elif what == "reasoning":
            self._reasoning = False
            self._transcript.drop_reasoning()
        elif what == "context":
            self._transcript.condense()

    def _take_answer(self, answer: Mapping[str, Any]) -> None:
        self.spending = self.spending.plus(answer)
        self._transcript.was_answered(None if answer.get("estimated") else int(answer["tokens_in"]))
        cut = answer.get("finish_reason") == "length"
        text = without_thoughts(answer.get("text", ""))
        if self.mode == "json":
            self._take_document(text, cut=cut)
        elif self.mode == "actions":
            self._take_action(text, cut=cut)
        elif answer.get("tool_calls"):
            self._take_calls(answer, text, cut=cut)
        else:
            self._take_plain(text, cut=cut, refused=bool(answer.get("refusal")))

    def _take_calls(self, answer: Mapping[str, Any], text: str, *, cut: bool) -> None:
        self._habits.called()
        self._ever_called = True
        made = answer["tool_calls"]
        calls = [
            # some endpoints give no ids, or the same one twice
            Call.checked(
                f"call_{self.spending.turns}_{number}",
                call,
                cut=cut and number == len(made),
                whole_patches=self._whole_patches,
            )
            for number, call in enumerate(made, 1)
        ]
        said = [call.as_said(written["arguments"]) for call, written in zip(calls, made, strict=True)]
        thoughts = dict(answer.get("reasoning") or {}) if self._reasoning else {}
        self._transcript.append({"role": "assistant", "content": text or None, "tool_calls": said, **thoughts})
        self._queue.extend(calls)
        self._settle_queue()

    def _take_plain(self, text: str, *, cut: bool, refused: bool) -> None:
        self._transcript.append({"role": "assistant", "content": text or "(an empty answer)"})
        if not cut and self._take_written_edits(text):
            return
        times = self._habits.plain(text, refused=refused)
        if times == 2 and len(self._modes) > 1 and not self._ever_called:
            # an endpoint that takes the tools and passes none of them on to the model
            self._change_mode()
            self._transcript.say(_OTHER_FORM)
        elif cut:
            self._transcript.say("Your answer was cut at its longest length. Call a tool right away, with less text.")
        else:
            self._transcript.say(f"That was no tool call. {_GO_ON}")

    def _take_written_edits(self, text: str) -> bool:
        """Have edits carried out that stand in the text of an answer; whether there were any."""
        try:
            edits = edits_in(text) if self._whole_patches else one_by_one(edits_in(text))
        except Malformed as error:
            self._habits.malformed(str(error))
            self._transcript.say(f"{error} Better call a tool.")
            return True
        self._queue.extend(Call("", name, arguments) for name, arguments in edits)
        if edits:
            self._habits.called()
        return bool(edits)

    def _take_action(self, text: str, *, cut: bool) -> None:
        if not cut and len(self._modes) > 1 and document.is_document(text):
            # models fall into the form they know: it is as good
            self._change_mode()
            self._take_document(text, cut=cut)
            return
        self._transcript.append({"role": "assistant", "content": text or "(an empty answer)"})
        try:
            name, arguments = actions.read_action(text)
            name, arguments = meant(name, arguments) if self._whole_patches else (name, arguments)
        except Malformed as error:
            times = self._habits.malformed(_CUT_ACTION if cut else str(error))
            if times >= MALFORMED_CALLS and len(self._modes) > 1 and not self._ever_called:
                # a model that cannot be held to it, by an endpoint that does not try
                self._change_mode()
                self._habits = Habits()
                self._transcript.say(_OTHER_FORM)
            else:
                self._transcript.say(_CUT_ACTION if cut else f"Error: {error}")
            return
        self._ever_called = True
        self._queue.append(Call("", name, arguments))
        self._settle_queue()

    def _take_document(self, text: str, *, cut: bool) -> None:
        self._transcript.append({"role": "assistant", "content": text or "(an empty answer)"})
        try:
            found = document.read_document(text)
        except Malformed as error:
            cause = "Your answer was cut at its longest length; change fewer files at once." if cut else str(error)
            self._habits.malformed(cause)
            self._transcript.say(cause)
            return
        self._habits.carried_out()
        self._failed_operations = False
        self._explanation = found.explanation if found.changes else None
        self._queue.extend(Call("", name, arguments) for name, arguments in found.operations)
        if not self._queue:
            self._end_document()

    def _take_tool_result(self, result: Mapping[str, Any]) -> None:
        call = self._queue.popleft()
        ok = result.get("ok", True)
        self._calls += 1
        self._habits.carried_out()
        tree = result.get("snapshot") or self.tree
        if tree != self.tree:
            self._habits.changed()
        self.tree = tree
        content = str(result["content"])
        self._shown_bytes += len(content.encode("utf-8", "replace"))
        content += self._habits.repeated(call.name, canonical(call.arguments), content) or self._habits.ended(
            call.name, content, turn=self.spending.turns, ok=ok
        )
        self._failed_operations |= not ok
        self._answer_call(call, content)
        if call.id:
            self._settle_queue()
        elif not self._queue:
            self._end_written()

    # --- calls

    def _settle_queue(self) -> None:
        """Answer the calls at the head of the queue that need nobody: broken ones, and ``finish``."""
        while self._queue and (self._queue[0].error or self._queue[0].name == "finish"):
            call = self._queue.popleft()
            if call.error:
                self._habits.malformed(call.error)
                self._answer_call(call, f"Error: {call.error}")
            elif self._may_finish():
                self._answer_call(call, "The tests are run now.")
                self.summary = str(call.arguments["summary"])[:_SUMMARY_CHARACTERS]
                for rest in self._queue:
                    self._answer_call(rest, "Not done: finish came before it.")
                self._queue.clear()
            else:
                self._answer_call(call, _NOTHING_CHANGED + " If that is right, call finish again.")
        if not self._queue and self._results:
            self._end_written()

    def _answer_call(self, call: Call, content: str) -> None:
        if call.id:
            self._transcript.append({"role": "tool", "tool_call_id": call.id, "content": content})
        else:
            self._results.append(content)

    def _end_written(self) -> None:
        """Tell what became of calls that stood in the text of an answer."""
        if self.mode == "json":
            self._end_document()
            return
        results, self._results = "\n\n".join(self._results), []
        if self.mode == "tools":
            results = f"What you wrote was carried out:\n{results}\n\n{_GO_ON}"
        self._transcript.say(results)

    def _end_document(self) -> None:
        results, self._results = self._results, []
        if self._explanation is not None and not self._failed_operations:
            if self._may_finish():
                self.summary = self._explanation[:_SUMMARY_CHARACTERS]
                return
            results.append(_NOTHING_CHANGED + " If that is right, send an empty list of code_changes again.")
        self._transcript.say("\n\n".join(results))

    def _change_mode(self) -> None:
        self._modes = self._modes[1:]
        self._transcript.replace_system_prompt(briefing.system_prompt(self.mode))
        self._habits.called()

    def _may_finish(self) -> bool:
        if self.tree != self._base_tree or self._told_unchanged:
            return True
        self._told_unchanged = True
        return False

    # --- what goes out

    def _ask(self) -> Ask:
        said, answer_tokens = self._transcript, self._settings.answer_tokens
        if self.terms.context_window is not None:
            answer_tokens = said.fit(self.terms.context_window, answer_tokens)
        if said.is_too_long:
            raise TaskError(
                "The conversation is too long for the model, condensed as far as it goes. "
                "Use a model with a larger context, or split the task.",
                stop_reason="context_overflow",
            )
        allowed = self.spending.allowance(
            self._settings, self.terms, self._task_tokens, -(-said.bytes // 4), answer_tokens
        )
        return Ask(self.spending.turns + 1, allowed, len(said.messages), said.digest)


_NOTHING_CHANGED = "Nothing has changed in the repository yet."
_OTHER_FORM = "Answer with one JSON document, as described above."
_GO_ON = "Go on by calling a tool; if the task is done, call finish."
_CUT_ACTION = "Your answer was cut at its longest length, so nothing was done. Write less at once: several small edits."
