"""The guards of the submission protocol, how each is taken away, and the test that must then fail.

A mutation replaces text of the package's source, which must be there exactly once.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Replacement:
    """One place in the source.

    :param module: the file, within the package.
    """

    module: str
    old: str
    new: str


@dataclass(frozen=True)
class Guard:
    """One guard.

    :param name: what it is, for the table.
    :param without: what takes it away.
    :param test: of ``test_guards.py``.
    """

    name: str
    without: tuple[Replacement, ...]
    test: str


def _guard(name: str, test: str, *without: tuple[str, str, str]) -> Guard:
    return Guard(name, tuple(Replacement(*each) for each in without), test)


_DRIVER, _SENDING, _PROTOCOL, _OPENING, _DOUBT, _TRANSITIONS, _RULES, _JOURNAL, _CLIENT, _DEPARTURE, _TASK, _OUTCOMES = (
    "submission/driver.py", "submission/sending.py", "submission/protocol.py", "submission/opening.py", "submission/doubt.py",
    "submission/transitions.py", "submission/rules.py", "submission/journal.py",
    "api/client.py", "api/departure.py", "tasks/submit.py", "outcomes.py",
)  # fmt: skip

GUARDS = (
    # The record and the fence
    _guard(
        "the fence is written",
        "test_a_process_that_may_not_write_does_not_send",
        (
            _SENDING,
            "        self._journal.put(records)\n",
            "        self._journal.records.update({r.key: r for r in records})\n",
        ),
    ),
    _guard(
        "the fence stands before the request",
        "test_the_fence_stands_before_the_request_leaves",
        (_SENDING, "        now = self._fence(sends)\n", "        now = self._clock.now()\n"),
        (
            _SENDING,
            "        answered: list[Record] = []\n",
            "        self._fence(sends)\n        answered: list[Record] = []\n",
        ),
    ),
    _guard(
        "whether it may send is asked again when the fence stands",
        "test_nothing_leaves_once_it_may_not_although_the_fence_stands",
        (_SENDING, "        halted = self._refusal()\n", "        halted = None\n"),
    ),
    _guard(
        "a first try writes an empty page",
        "test_a_first_try_leaves_word_that_nothing_was_sent",
        (
            _JOURNAL,
            "            self._write([0])\n        elif first is None:\n            self.lost = True\n",
            "            pass\n        elif first is None:\n            self.lost = True\n",
        ),
    ),
    _guard(
        "a page that is missing on a later try is lost",
        "test_a_lost_record_is_not_an_empty_one",
        (
            _JOURNAL,
            "        elif first is None:\n            self.lost = True\n",
            "        elif first is None:\n            self.lost = False\n",
        ),
    ),
    _guard(
        "a page that is missing on a resumption is lost",
        "test_a_record_that_is_lost_during_a_deferral_is_not_an_empty_one",
        (
            _TASK,
            "is_first_try=self.run.is_first_try and not resumed",
            "is_first_try=self.run.is_first_try",
        ),
    ),
    _guard(
        "a page that cannot be read is not empty",
        "test_an_unreadable_record_is_not_an_empty_one",
        (
            _JOURNAL,
            "        if problem is not None:\n",
            "        problem = None\n        if problem is not None:\n",
        ),
    ),
    _guard(
        "a mapped task does not send what another position may have",
        "test_what_another_position_of_a_mapped_list_may_have_sent_is_not_sent",
        (_OPENING, "                elif others:\n", "                elif False:\n"),
    ),
    _guard(
        "a mapped task notes its targets first",
        "test_a_mapped_task_notes_what_it_is_about_before_all_else",
        (_OPENING, "        return self.run.map_index < 0 and all(", "        return all("),
    ),
    _guard(
        "an overtaken process leaves the record alone",
        "test_a_process_that_was_overtaken_leaves_the_record_alone",
        (
            _SENDING,
            "        if not self._journal.still_holds([record for send in sends for record in self._current(send)]):\n",
            "        if False:\n",
        ),
    ),
    _guard(
        "a response is written surely",
        "test_an_answer_is_written_again_if_the_store_fails",
        (_SENDING, "self._journal.put_surely(answered)", "self._journal.put(answered)"),
    ),
    # What is in doubt
    _guard(
        "what failed is not adopted",
        "test_what_failed_before_it_was_found_is_not_adopted",
        (
            _DOUBT,
            "    if latest is not None and is_marked and is_adoptable(latest) and not record.is_over_refused:\n",
            "    if latest is not None and is_marked and not record.is_over_refused:\n",
        ),
    ),
    _guard(
        "what was adopted is not believed to have failed",
        "test_what_fails_after_it_was_adopted_is_in_doubt",
        (_TRANSITIONS, '    if not record.inferred or seen.state != "failed":\n', "    if True:\n"),
    ),
    _guard(
        "the baseline's id",
        "test_the_baseline_is_not_adopted",
        (_DOUBT, "        if same_id(latest.id, record.baseline.scheduled_post_id):\n", "        if False:\n"),
    ),
    _guard(
        "the baseline's updatedAt",
        "test_a_baseline_that_has_changed_proves_nothing",
        (_DOUBT, " and latest.updated_at == record.baseline.updated_at\n", "\n"),
    ),
    _guard(
        "the service's clock: nothing older than the baseline",
        "test_what_was_there_before_is_not_adopted",
        (
            _DOUBT,
            "    if created is None or not_before is None or created < not_before:\n",
            "    if created is None:\n",
        ),
    ),
    _guard(
        "scheduledAt is the one sent",
        "test_only_what_is_for_the_time_that_was_sent_is_adopted",
        (
            _DOUBT,
            "    if record.scheduled_at is None:\n        # What",
            "    return True\n    if record.scheduled_at is None:\n        # What",
        ),
    ),
    _guard(
        "the account is ours",
        "test_only_what_is_of_the_same_account_is_adopted",
        (_DOUBT, "    if not same_id(latest.social_account_id, record.social_account_id) or any(\n", "    if any(\n"),
    ),
    _guard(
        "settle_time is waited for",
        "test_what_takes_effect_late_is_waited_for",
        (_DOUBT, "    if asked < record.fence + patience:\n", "    if False:\n"),
        (_DOUBT, "    if _is_early_by_its_clock(", "    if False and _is_early_by_its_clock("),
    ),
    _guard(
        "settle passes by the service's clock too",
        "test_settle_passes_by_the_clock_of_the_service_too",
        (_DOUBT, "    if _is_early_by_its_clock(", "    if False and _is_early_by_its_clock("),
    ),
    _guard(
        "a response shows the time at which it was asked for",
        "test_a_response_is_as_old_as_its_request",
        (_DOUBT, "    asked = now if asked is None else asked\n", "    asked = now\n"),
    ),
    _guard(
        "settle_time=None never sends again",
        "test_without_settle_nothing_in_doubt_is_sent_again",
        (_DOUBT, "    if settle_time is None:\n", "    if False:\n"),
    ),
    _guard(
        "409 is doubt",
        "test_a_conflict_is_doubt",
        (_RULES, "error.status not in {408, 409}", "error.status not in {408}"),
    ),
    _guard(
        "a decision is bound to one request",
        "test_a_decision_is_about_one_request",
        (_OPENING, "    return secrets.token_hex(4)\n", '    return "00000000"\n'),
    ),
    _guard(
        "a decision 'not sent' waits for settle",
        "test_a_decision_is_obeyed_when_it_can_be_known",
        (
            _PROTOCOL,
            'decision == "not_accepted" and not isinstance(resolution, PollAgain)',
            'decision == "not_accepted"',
        ),
    ),
    _guard(
        "nothing is sent to a post that is in doubt",
        "test_nothing_is_sent_that_would_hide_what_is_looked_for",
        (
            _PROTOCOL,
            "        return PollLater(min(polls), tuple(log)) if polls else None\n",
            "        return None\n",
        ),
    ),
    _guard(
        "what is seen of a post is compared with all its targets",
        "test_what_is_seen_is_compared_with_all_targets",
        (
            _PROTOCOL,
            "for record in self.post.records.values()]\n        found",
            "for record in list(self.post.records.values())[:1]]\n        found",
        ),
    ),
    _guard(
        "what is seen of a post is compared with what this try has given up",
        "test_what_is_seen_is_compared_with_what_was_given_up",
        (
            _PROTOCOL,
            "for record in self.post.records.values()]\n        found",
            "for record in self.post.open_records()]\n        found",
        ),
    ),
    _guard(
        "clocks may disagree where there is no record",
        "test_clocks_may_disagree_without_a_record",
        (_RULES, "CLOCK_MARGIN = timedelta(minutes=2)\n", "CLOCK_MARGIN = timedelta(0)\n"),
    ),
    _guard(
        "a record stays incomplete once it was lost",
        "test_a_record_that_was_lost_stays_incomplete",
        (_JOURNAL, "                self.lost = self.lost or page.incomplete\n", ""),
    ),
    _guard(
        "a refused request leaves its marks",
        "test_what_shows_up_after_a_refusal_is_unknown",
        (
            _PROTOCOL,
            "        if refused is not None and self._is_marked(refused, latest, observed):\n",
            "        if False:\n",
        ),
    ),
    _guard(
        "the next occurrence is not adopted",
        "test_the_next_occurrence_is_not_adopted",
        (_DOUBT, "        return got is None or got < created + DUE_AT_ONCE\n", "        return True\n"),
    ),
    _guard(
        "what is in doubt is looked for although it is not asked for any more",
        "test_what_is_in_doubt_and_not_asked_for_is_looked_for",
        (_DRIVER, '        if key not in announced and record.state == "in_doubt":\n', "        if False:\n"),
    ),
    _guard(
        "MAX_SENDS",
        "test_a_try_does_not_go_on_for_ever",
        (_PROTOCOL, "== self.run.try_number and record.sends >= MAX_SENDS", "== -1"),
    ),
    # The way there
    _guard(
        "a request leaves soon after its fence, or never",
        "test_a_process_that_was_held_up_does_not_send",
        (_DEPARTURE, "self._leave_by is not None and self._now() > self._leave_by", "False"),
    ),
    _guard(
        "a submission has a connection of its own",
        "test_a_submission_has_a_connection_of_its_own",
        (
            _CLIENT,
            "self._exchange(self._send_alone, operation, seconds, leave_by)",
            "self._exchange(self._send_on_kept, operation, seconds, leave_by)",
        ),
    ),
    _guard(
        "no retries below the protocol",
        "test_a_submission_is_not_repeated_below_the_protocol",
        (
            _CLIENT,
            "        return await self._exchange(self._send_alone, operation, seconds, leave_by)\n",
            (
                "        try:\n"
                "            return await self._exchange(self._send_alone, operation, seconds, leave_by)\n"
                "        except OctosparkError as error:\n"
                "            if not is_repeatable_at_once(error):\n"
                "                raise\n"
                "            return await self._exchange(self._send_alone, operation, seconds, leave_by)\n"
            ),
        ),
    ),
    # What frees a target
    _guard(
        "only a failure that is transient frees",
        "test_a_failure_that_does_not_pass_is_not_submitted_again",
        (_RULES, "    return cleared or is_retryable_failure(outcome)\n", "    return True\n"),
    ),
    _guard(
        "a failure with the platform's id frees nothing",
        "test_a_failure_that_may_be_live_is_not_submitted_again",
        (
            _OUTCOMES,
            '("unknown", "in_doubt") if scheduled.any_platform_post_id else ("failed", None)',
            '"failed", None',
        ),
        (_RULES, "    if outcome.platform_post_id or ((rules.recurs", "    if ((rules.recurs"),
    ),
    _guard(
        "what a user cancelled frees nothing",
        "test_what_a_person_cancelled_is_not_submitted_again",
        (_RULES, ' or outcome.state != "failed" or outcome.reason is not None:\n', ' or outcome.state != "failed":\n'),
    ),
    _guard(
        "a clear is one that raised max_tries",
        "test_only_a_clear_asks_for_another_submission",
        (
            _PROTOCOL,
            "        cleared = self._is_cleared(record)\n",
            "        cleared = True\n",
        ),
    ),
    _guard(
        "a failed occurrence does not end a recurrence",
        "test_a_failed_occurrence_is_not_the_end_of_a_recurrence",
        (_RULES, "(rules.recurs or rules.forgets)", "rules.forgets"),
    ),
    _guard(
        "what freed a target is looked at once more",
        "test_what_was_revived_before_it_is_submitted_again",
        (_PROTOCOL, "        if same_stored(seen, known):\n            return None\n", "        return None\n"),
    ),
    _guard(
        "somebody else's submission is not repeated",
        "test_what_somebody_else_submitted_is_not_submitted_again",
        (
            _PROTOCOL,
            '        if is_new and self.rules.repeats != "allow" and ',
            "        if False and ",
        ),
    ),
)
