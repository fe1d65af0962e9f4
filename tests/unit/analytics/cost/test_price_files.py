"""A price file is loaded whole or refused with every problem and its place."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from millstream.analytics.cost.price_files import ALWAYS, Budget, InvalidFile, Price, read_file

GOOD = """instance_type,region,purchase_option,effective_from,price_per_hour,vcpus,memory_gib
m5.large,eu-central-1,,2026-11-01,0.115,2,8
m5.large,eu-central-1,spot,2026-11-01T12:30:00+01:00,0.04,2,
"""


def written(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, "utf-8")
    return file


def test_csv_and_yaml_give_the_same_prices(tmp_path: Path) -> None:
    yaml = """prices:
  - {instance_type: m5.large, region: eu-central-1, effective_from: 2026-11-01, price_per_hour: 0.115, vcpus: 2,
     memory_gib: 8}
  - {instance_type: m5.large, region: eu-central-1, purchase_option: spot, price_per_hour: 0.04, vcpus: 2,
     effective_from: 2026-11-01T12:30:00+01:00}
"""
    found = read_file(written(tmp_path, "a.csv", GOOD), Price)
    assert found == read_file(written(tmp_path, "a.yaml", yaml), Price)
    assert found[0].effective_from == datetime(2026, 11, 1, tzinfo=UTC)
    assert found[1].effective_from == datetime(2026, 11, 1, 11, 30, tzinfo=UTC)
    assert found[0].effective_to == ALWAYS


def test_every_problem_is_reported_with_its_line_and_value(tmp_path: Path) -> None:
    text = (
        "instance_type,price_per_hour,vcpus,currency,effective_from,effective_to\n"
        "m5.large,-1,2,USD,,\n"
        "m5.xlarge,0.2,0,EURO,,\n"
        ",0.2,2,USD,,\n"
        "c5.large,nan,2,USD,,\n"
        "r5.large,0.2,2,USD,2026-11-02,2026-11-01\n"
        "t3.small,0.2,2,USD,,\n"
        "t3.small,0.3,2,USD,,\n"
    )
    with pytest.raises(InvalidFile) as error:
        read_file(written(tmp_path, "bad.csv", text), Price)
    lines = str(error.value).splitlines()
    for place in ("line 2: price_per_hour", "line 3: vcpus", "line 3: currency", "line 4: instance_type"):
        assert any(place in line for line in lines), place
    for place in ("line 5: price_per_hour", "line 6: row", "line 8: the same price is already given by line 7"):
        assert any(place in line for line in lines), place
    assert len(lines) == 7
    assert "'EURO'" in str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.csv", "", "no rows"),
        ("a.csv", "instance_type,price_per_hour,vcpus,colour\nm5,1,2,red\n", "colour"),
        ("a.csv", "instance_type,price_per_hour,vcpus\nm5,1,2,3\n", "more cells than the header has"),
        ("a.csv", "instance_type,price_per_hour,vcpus,currency\nm5,1,2,USD\nm6,1,2,EUR\n", "several currencies"),
        ("a.yaml", "prices: {", "expected"),
        ("a.yaml", "costs: []", "list under 'prices'"),
        ("a.txt", "", "neither .csv nor .yaml"),
    ],
)
def test_a_file_that_cannot_be_is_refused_with_the_reason(tmp_path: Path, name: str, text: str, reason: str) -> None:
    with pytest.raises(InvalidFile, match=reason):
        read_file(written(tmp_path, name, text), Price)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
@pytest.mark.parametrize("name", ["a.csv", "a.yaml"])
def test_a_file_in_another_encoding_is_refused_with_its_name_and_place(
    tmp_path: Path, name: str, encoding: str
) -> None:
    (tmp_path / name).write_text("instance_type,price_per_hour,vcpus\ngroß,1,2\n", encoding=encoding)
    with pytest.raises(InvalidFile, match=rf"{name}: not UTF-8 \(byte \d+\)"):
        read_file(tmp_path / name, Price)


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:00:00-05:00", "1969-12-31", "2107-01-01"]
)
def test_a_moment_that_no_price_can_begin_at_is_refused_with_its_line(tmp_path: Path, moment: str) -> None:
    text = f"instance_type,price_per_hour,vcpus,effective_from\nm5,1,2,{moment}\n"
    with pytest.raises(InvalidFile, match=r"line 2: effective_from: .*not between 1970 and 2106"):
        read_file(written(tmp_path, "a.csv", text), Price)


def test_budgets_are_read_the_same_way(tmp_path: Path) -> None:
    found = read_file(written(tmp_path, "b.yaml", "- {tenant: acme, monthly_cost: 100}"), Budget)
    assert found == [Budget(tenant="acme", monthly_cost=100, alert_share=0.8)]
    with pytest.raises(InvalidFile, match="alert_share"):
        read_file(written(tmp_path, "c.yaml", "- {tenant: acme, monthly_cost: 100, alert_share: 2}"), Budget)
