"""The language of perturbations: text to object and back, and what is said of a text that names none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nchl import tasks
from nchl.errors import InvalidArgument
from nchl.perturbations import language, parse, parse_all, plan
from nchl.perturbations.draws import decision_of
from nchl.perturbations.objects import Lesion, Motor, Push, Range, Scaled, SensorDelay

MORE = (
    *("motor:*=0.5", "motor:3=stuck:0.4", "motor:0,2-4,7=0", "sensor:*=1.5@2", "friction=x0.4..0.95@300..699", "slope=-5deg@100"),
    *("attribute:masscart=3", "lesion:weights=1@100", "push:torso=-30.5N@4..9+1", "shuffle:weights"),
)


@pytest.mark.parametrize("text", [*language.EXAMPLES, *MORE])
def test_text_and_object_are_each_others_inverse(text: str) -> None:
    assert str(parse(text)) == text
    assert parse(str(parse(text))) == parse(text)


def test_the_parts_of_a_text() -> None:
    assert parse("motor:0-2,5=stuck:-1@7..9") == Motor(which=(0, 1, 2, 5), stuck=-1.0, moment=Range(7, 9))
    assert parse("lesion:neurons=0.2@500") == Lesion(part="neurons", share=0.2, moment=Range(500, 500))
    assert parse("push:torso=300N@400+10") == Push(place="torso", newtons=Range(300, 300), steps=10, moment=Range(400, 400))
    assert parse("limb:ankle_4=x0.25") == Scaled(quantity="limb", place="ankle_4", factor=Range(0.25, 0.25))
    assert parse("sensor-delay=2") == SensorDelay(steps=2)


@given(st.integers(0, 50), st.floats(-1e6, 1e6, allow_subnormal=False), st.integers(0, 10**6), st.integers(0, 1000))
def test_numbers_come_back_as_they_were(index: int, gain: float, first: int, more: int) -> None:
    made = Motor(which=(index,), gain=Range(gain, gain), moment=Range(first, first + more))
    assert parse(str(made)) == made


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("moter:3=0", "did you mean 'motor'"),
        ("motor:3", "says not how"),
        ("motor=0", "names none|expected motor:3"),
        ("motor:x=0", "motor:3"),
        ("motor:3=nan", "finite number, got 'nan'"),
        ("motor:3=1e999", "finite number"),
        ("motor:3=0@", "expected a step"),
        ("motor:3=0@-1", "expected a step"),
        ("motor:3=0@9..3", "range of steps"),
        ("motor:3=0@5+2", "only a push ends"),
        ("motor:1,1=0", "given twice"),
        ("motor:5-2=0", "indices rise"),
        ("lesion:weight=0.3", "did you mean 'weights'"),
        ("lesion:weights=1.2", "at most 1"),
        ("lesion:weights=0", "above 0"),
        ("friction:ice=x1", "takes no name"),
        ("friction=2", "a factor"),
        ("gravity=x-1", "at least 0"),
        ("limb:a=x0", "above 0"),
        ("shuffle:weights=3@5", "write shuffle:weights@5"),
        ("push:torso=300N", "comes at a step and lasts"),
        ("push:torso=300@4+1", "newtons"),
        ("slope=5", "degrees"),
        ("slope=80deg", "from -60 to 60"),
        ("sensor-noise=-1", "at least 0"),
        ("sensor-delay=0.5", "whole number"),
        ("attribute:=2", "names none"),
        ("", "unknown perturbation"),
    ],
)
def test_what_names_no_perturbation_is_refused_with_what_would(text: str, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        parse(text)


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="expected a text"):
        parse_all([3])  # type: ignore[list-item]
    with pytest.raises(InvalidArgument, match="a list of texts"):
        plan(None, "motor:0=0")


@pytest.mark.parametrize(
    "texts",
    [["motor:3=0", "motor:0-4=1"], ["motor:*=0", "motor:3=1"], ["motor:3=1", "motor:*=0"], "friction=x2 & friction=x1@5"],
)
def test_the_same_thing_is_not_changed_twice(texts: list[str] | str) -> None:
    with pytest.raises(InvalidArgument, match="change the same"):
        parse_all(texts)


def test_several_at_once_and_none() -> None:
    assert [str(each) for each in parse_all("motor:0=0@3 & mass:a=x2")] == ["motor:0=0@3", "mass:a=x2"]
    assert parse_all(["none", "mass:a=x2", "mass:b=x2"]) == parse_all("mass:a=x2 & mass:b=x2")
    assert parse_all(None) == parse_all("none") == ()
    assert not plan("none")
    assert plan(None, ["none", "gravity=x2"])


def test_a_moment_behind_the_end_is_refused() -> None:
    language.check_moments(parse_all("motor:0=0@400..499"), 500)
    with pytest.raises(
        InvalidArgument, match=r"comes at step 500, but an episode has 500 steps.*in a suite file of your own\), or evolve with"
    ):
        language.check_moments(parse_all("motor:0=0@400..500"), 500)


@pytest.mark.parametrize(("limit", "last"), [(200, 190), (195, 190), (191, 190), (190, 180), (5, 0)])
def test_a_moment_behind_the_last_of_repeated_actions_is_refused(limit: int, last: int) -> None:
    for text in ("sensor:*=0", "motor:0=0", "sensor-delay=1", "lesion:weights=1", "shuffle:weights"):
        language.check_moments(parse_all(f"{text}@{last}"), limit, 10)
        if last + 1 < limit:
            with pytest.raises(
                InvalidArgument, match=rf"from step {last + 1} on.*of {limit} steps begins at step {last}; choose step {last}"
            ):
                language.check_moments(parse_all(f"{text}@0..{last + 1}"), limit, 10)
    language.check_moments(parse_all(f"gravity=x2@{limit - 1} & push:torso=3N@{limit - 1}+1"), limit, 10)


def test_a_task_with_repeated_actions_refuses_a_moment_that_would_not_come() -> None:
    with pytest.raises(InvalidArgument, match=r"--action-repeat 10\) the last one of 200 steps begins at step 190"):
        tasks.make("Pendulum-v1", "gymnasium", action_repeat=10, perturb=["sensor:*=0@195"])
    tasks.make("Pendulum-v1", "gymnasium", action_repeat=10, perturb=["sensor:*=0@190", "attribute:m=x2@199"]).close()


def test_bodies_change_within_a_repeated_action_and_all_else_with_the_next() -> None:
    steps = {text: [decision_of(parse(f"{text}@{at}"), 0, 10) for at in (0, 1, 10, 195)] for text in ("gravity=x2", "motor:0=0")}
    assert steps == {"gravity=x2": [0, 0, 1, 19], "motor:0=0": [0, 1, 1, 20]}


def test_an_episode_draws_from_its_seed_alone() -> None:
    two = plan(["motor:0=0@10..99", "motor:1=0@10..99", "gravity=x0.5..2"])
    moments = [two.moments(each, range(200)) for each in two.all]
    assert moments[0] == moments[1], "equal ranges give equal moments"
    assert set(moments[0]) <= set(range(10, 100))
    assert len(set(moments[0])) > 50
    chosen = plan("sensor-delay=1", ["none", "gravity=x2", "gravity=x3"])
    places = [chosen.place_of(seed) for seed in range(300)]
    assert min(places.count(place) for place in range(3)) > 60
    assert [str(each) for each in chosen.of(places.index(1))] == ["sensor-delay=1", "gravity=x2"]
