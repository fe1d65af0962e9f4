"""Questions that are asked until they are answered."""

import threading
from functools import partial

from structlog.testing import capture_logs

from millstream.consumers.worker.coordination.open_questions import OpenQuestions
from tests.support.waiting import until


def test_a_question_is_asked_again_until_it_is_answered() -> None:
    questions, answers = OpenQuestions(), iter([False, False, True])
    asked: list[bool] = []

    def question() -> bool:
        asked.append(next(answers))
        return asked[-1]

    questions.ask("q", question)
    for _ in range(5):
        questions.ask_all()
    assert asked == [False, False, True]


def test_a_question_that_is_open_is_not_asked_twice() -> None:
    questions = OpenQuestions()
    asked: list[int] = []

    def question(number: int) -> bool:
        asked.append(number)
        return True

    for number in range(3):
        questions.ask("q", partial(question, number))
    questions.ask_all()
    assert asked == [0]


def test_however_many_questions_there_are_one_thread_asks_them() -> None:
    threads = set()

    def question() -> bool:
        threads.add(threading.current_thread())
        return True

    with OpenQuestions() as questions:
        for number in range(300):
            questions.ask(str(number), question)
        until(lambda: not questions.open)
    assert len(threads) == 1


def test_a_question_that_fails_does_not_keep_the_others_from_being_asked() -> None:
    questions, asked = OpenQuestions(), [0]

    def question() -> bool:
        asked[0] += 1
        return True

    def failing() -> bool:
        raise TypeError("a mistake")

    questions.ask("failing", failing)
    questions.ask("q", question)
    with capture_logs() as logs:
        questions.ask_all()
    assert (asked, questions.open) == ([1], 0)
    assert [each["event"] for each in logs] == ["question_failed"]
