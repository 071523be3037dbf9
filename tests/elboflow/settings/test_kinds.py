"""Choices by `kind` that installed packages can add to."""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import ValidationError

from elboflow.settings import Settings, table
from elboflow.settings.explain import explain
from elboflow.settings.kinds import Kind, origins
from elboflow.settings.layout import section, words
from tests import packages

FRUITS = {
    "elbo_test_fruits/__init__": """
from abc import abstractmethod

from elboflow.settings.kinds import Kind

class Fruit(Kind):
    group, folder, usual = "elboflow.test_fruits", __name__, "apple"

    @abstractmethod
    def weight(self) -> int: ...
""",
    "elbo_test_fruits/apple": """
from typing import Literal

from elbo_test_fruits import Fruit

class Apple(Fruit):
    kind: Literal["apple"] = "apple"
    size: int = 7

    def weight(self) -> int:
        return self.size
""",
    "elbo_test_fruits/_stem": "raise AssertionError('a file whose name begins with _ is no kind')",
    "elbo_test_exotic": """
from typing import Literal

from elbo_test_fruits import Fruit

class Mango(Fruit):
    kind: Literal["mango"] = "mango"
    ripe: bool = False

    def weight(self) -> int:
        return 3

class Misnamed(Fruit):
    kind: Literal["durian"] = "durian"

class Unfinished(Fruit):
    kind: Literal["unfinished"] = "unfinished"

not_a_fruit = int
imported = True
""",
    "elbo_test_broken": "raise OSError('its library is missing')",
    "elbo_test_heavy": """
import sys
import types

sys.modules["torch"] = types.ModuleType("torch")  # as `import torch` does

from elbo_test_exotic import Mango
""",
}
POINTS = {
    "elboflow.test_fruits": {
        "mango": "elbo_test_exotic:Mango",
        "lychee": "elbo_test_exotic:Misnamed",
        "number": "elbo_test_exotic:not_a_fruit",
        "unfinished": "elbo_test_exotic:Unfinished",
        "broken": "elbo_test_broken:Fruit",
        "heavy": "elbo_test_heavy:Mango",
    }
}


@pytest.fixture
def fruit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A base class with one kind of its own, to which an installed package adds."""
    (tmp_path / "elbo_test_fruits").mkdir()
    packages.install(tmp_path, "exotic-fruits", FRUITS, POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    packages.forget()
    from elbo_test_fruits import Fruit  # type: ignore[import-not-found]  # made just now

    yield Fruit
    for name in [name for name in sys.modules if name.startswith("elbo_test_")]:
        del sys.modules[name]
    packages.forget()


def basket(fruit: Any) -> type[Settings]:
    """Returns a section that offers the choice in each way in which a section can."""
    namespace = {
        "__annotations__": {"one": fruit, "many": dict[str, fruit], "listed": list[fruit], "none": fruit | None},
        "one": fruit.parse("apple"),
        "many": {},
        "listed": [],
        "none": None,
        "__module__": __name__,
    }
    return type("Basket", (Settings,), namespace)


def problems(settings: type[Settings], values: Any) -> list[str]:
    """Returns what is said of values that are not what the settings are."""
    with pytest.raises(ValidationError) as raised:
        settings.model_validate(values)
    return list(map(str, explain(raised.value, settings)))


def test_a_kind_may_be_written_as_its_name_or_with_its_settings(fruit: Any) -> None:
    read = basket(fruit).model_validate(
        {"one": "apple", "many": {"a": {"kind": "apple", "size": 2}}, "listed": ["mango"], "none": {"size": 3}}
    )
    assert (read.one.weight(), read.many["a"].weight(), read.listed[0].weight(), read.none.weight()) == (7, 2, 3, 3)


def test_what_is_written_is_read_again(fruit: Any) -> None:
    settings = basket(fruit)
    read = settings.model_validate({"one": {"kind": "mango", "ripe": True}, "many": {"a": "apple"}})
    assert settings.model_validate(read.model_dump(mode="json")) == read
    assert settings.model_validate_json(read.model_dump_json()) == read


def test_all_kinds_are_listed_to_a_person_who_names_another(fruit: Any) -> None:
    assert problems(basket(fruit), {"one": "mangoo"}) == [
        "one: unknown kind 'mangoo'; did you mean 'mango'? allowed: apple, broken, heavy, lychee, mango, number, "
        "unfinished"
    ]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"one": {"kind": "apple", "size": "large"}}, "one.size: 'large' is not allowed; must be a whole number"),
        ({"one": {"kind": "mango", "ripeness": 1}}, "one.ripeness: unknown key; allowed: kind, ripe"),
        ({"many": {"a": {"kind": "apple", "size": None}}}, "many.a.size: null is not allowed"),
        ({"listed": ["apple", {"size": "x"}]}, "listed.1.size: 'x' is not allowed"),
        ({"one": 7}, "one: 7 is not allowed"),
        ({"one": {"kind": 7}}, "one: unknown kind 7; allowed: apple, "),
    ],
)
def test_a_mistake_within_a_kind_is_told_by_its_key(fruit: Any, values: Any, said: str) -> None:
    (told,) = problems(basket(fruit), values)
    assert told.startswith(said)


@pytest.mark.parametrize(
    ("name", "first"), [("apple", rf"elboflow {re.escape(version('elboflow'))}"), ("mango", "exotic-fruits 1.2.3")]
)
def test_a_name_that_two_packages_give_to_a_kind_is_refused_with_both(
    fruit: Any, name: str, first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = {"elboflow.test_fruits": {name: "elbo_test_market:Fruit"}}
    packages.install(tmp_path / "site", "market", {"elbo_test_market": "raise AssertionError('imported')"}, points)
    monkeypatch.syspath_prepend(tmp_path / "site")
    packages.forget()
    assert words(fruit).count(name) == 1
    namespace = {"__annotations__": {"listed": list[fruit]}, "listed": [], "__module__": __name__}
    box: type[Settings] = type("Box", (Settings,), namespace)
    (told,) = problems(box, {"listed": [name]})
    said = f"the kind '{name}' of elboflow.test_fruits is in {first} and in market 1.2.3: which one is meant is not"
    assert re.match(rf"listed\.0: {said} clear; uninstall the others$", told)
    assert len(box.model_validate({"listed": ["mango" if name == "apple" else "apple"]}).listed) == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "lychee",
            "is elbo_test_exotic:Misnamed; a subclass of elbo_test_fruits.Fruit whose `kind` is 'lychee'",
        ),
        ("number", "is elbo_test_exotic:not_a_fruit; a subclass of elbo_test_fruits.Fruit whose `kind` is 'number'"),
        ("unfinished", "lacks weight, which every kind of elboflow.test_fruits must define"),
        ("broken", "cannot be imported: OSError: its library is missing"),
        ("heavy", "imports torch when it is loaded, before a backend is chosen; import it inside functions"),
    ],
)
def test_an_entry_point_that_is_no_kind_is_refused_by_its_package(
    fruit: Any, name: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Set, and then deleted: so that in the end what is there now is there again, or nothing.
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    monkeypatch.delitem(sys.modules, "torch")
    (told,) = problems(basket(fruit), {"one": name})
    assert told.startswith(f"one: the entry point '{name}' in elboflow.test_fruits of exotic-fruits 1.2.3 {said}")


@pytest.mark.parametrize("name", ["elbo_test_exotic:Mango", "elbo_test_exotic", "os:system", "../apple", "_stem", ""])
def test_a_name_is_looked_up_and_never_imported(fruit: Any, name: str) -> None:
    (told,) = problems(basket(fruit), {"one": {"kind": name}})
    assert "unknown kind" in told
    assert "elbo_test_exotic" not in sys.modules


def test_a_package_is_imported_only_when_one_of_its_kinds_is_chosen(fruit: Any) -> None:
    basket(fruit).model_validate({"one": "apple"})
    assert words(fruit) == ["apple", "broken", "heavy", "lychee", "mango", "number", "unfinished"]
    assert "elbo_test_exotic" not in sys.modules
    basket(fruit).model_validate({"one": "mango"})
    assert "elbo_test_exotic" in sys.modules


def test_distribution_and_version_of_every_kind_from_outside_are_known(fruit: Any) -> None:
    read = basket(fruit).model_validate({"one": "apple", "many": {"a": "mango"}, "listed": ["apple", "mango"]})
    assert origins(read) == {"elboflow.test_fruits:mango": "exotic-fruits 1.2.3"}
    assert origins(basket(fruit)()) == {}


def test_the_section_of_a_kind_is_found_by_its_name(fruit: Any) -> None:
    assert section(fruit, None) is table.find(fruit, "apple")
    assert section(fruit, "mango") is table.find(fruit, "mango")
    assert section(fruit, "pear") is None


def test_a_section_that_has_no_usual_kind_asks_for_one() -> None:
    class Tool(Kind):
        group, folder = "elboflow.test_tools", None

    class Box(Settings):
        tool: Tool

    assert problems(Box, {"tool": {}}) == ["tool: no `kind` is given; allowed: "]
