"""Analysts: no table and no view is left out of the generated access, and a tenant reads no row of another.

The embedded engine parses access statements and has no access control, so there the statements are checked; the tests
of what a tenant can read run where MILLSTREAM_TEST_CLICKHOUSE_URL names a server.
"""

import os
import re
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from millstream.analytics import connect, table_names, view_names
from millstream.analytics.access import Limits, analyst_role, read_schema, tenant_role, tenant_role_name, tenant_views
from millstream.analytics.warehouse.catalogue import view
from millstream.analytics.warehouse.view_docs import prepare, whole

TENANT = "tenant-7"
SERVER = os.environ.get("MILLSTREAM_TEST_CLICKHOUSE_URL")


def test_the_engine_parses_every_statement(clickhouse: Client) -> None:
    schema = read_schema(clickhouse)
    for statement in [*analyst_role(schema), *tenant_role(schema, "o'neill`s")]:
        assert "uery" in str(clickhouse.command(f"EXPLAIN AST {statement}")), statement


def test_no_table_and_no_view_is_left_out(clickhouse: Client) -> None:
    schema = read_schema(clickhouse)
    assert set(table_names()) | {"schema_migrations"} == set(schema.tables)
    assert set(view_names()) == set(schema.views)
    text = "\n".join(tenant_role(schema, TENANT))
    policies = dict(re.findall(r"ROW POLICY .* ON `\w+`\.`(\w+)` USING (.*) TO", text))
    granted = set(re.findall(r"GRANT SELECT ON `\w+`\.`(\w+)` TO", text))
    everything = set(schema.tables) | set(schema.materialized) | set(schema.views)
    assert everything == set(policies) | granted
    for name in everything:
        if name in schema.tables and schema.has_tenant(name) and not name.endswith(("_landing", "_check")):
            assert policies[name] == "tenant = 'tenant-7'"
        elif name in granted:
            assert name in tenant_views(schema)
        else:
            assert policies[name] == "0"
    assert {"job_events", "job_attempts", "jobs", "cost_1m", "dead_letters", "budgets"} <= granted
    assert not granted & {"worker_heartbeats", "worker_usage", "price_book", "alerts", "changes", "lane_latency_1m"}


def test_a_table_added_later_without_a_tenant_is_hidden_and_one_with_a_tenant_is_filtered(clickhouse: Client) -> None:
    clickhouse.command("CREATE TABLE secrets (x UInt8) ENGINE = MergeTree ORDER BY x")
    clickhouse.command("CREATE TABLE invoices (tenant String) ENGINE = MergeTree ORDER BY tenant")
    clickhouse.command("CREATE VIEW unheard_of AS SELECT * FROM secrets")
    text = "\n".join(tenant_role(read_schema(clickhouse), TENANT))
    assert re.search(r"ON `\w+`\.`secrets` USING 0 ", text)
    assert re.search(r"ON `\w+`\.`unheard_of` USING 0 ", text)
    assert re.search(r"ON `\w+`\.`invoices` USING tenant = 'tenant-7' ", text)
    assert not re.search(r"GRANT SELECT ON `\w+`\.`(secrets|unheard_of)`", text)


def test_limits_cannot_be_raised_by_those_they_apply_to(clickhouse: Client) -> None:
    (altered,) = [each for each in analyst_role(read_schema(clickhouse)) if each.startswith("ALTER ROLE")]
    limits = altered.split(" SETTINGS ", 2)[-1].split(", ")
    assert all(limit.endswith(" CONST") for limit in limits)
    assert any(limit.startswith("max_execution_time = 60") for limit in limits)


def test_each_role_has_limits_of_its_own_which_every_run_sets_anew(clickhouse: Client) -> None:
    schema = read_schema(clickhouse)
    made = [
        *analyst_role(schema, Limits(seconds=120)),
        *tenant_role(schema, "acme", Limits(seconds=7)),
    ]
    limited = [each for each in made if "max_execution_time" in each]
    assert [each.split(" SETTINGS ")[0] for each in limited] == [
        "ALTER ROLE `millstream_analyst`",
        "ALTER ROLE `millstream_tenant_acme`",
    ]
    assert "max_execution_time = 120 CONST" in limited[0]
    assert "max_execution_time = 7 CONST" in limited[1]
    assert not any("PROFILE" in each for each in made)


@pytest.fixture(scope="module")
def tenant() -> Iterator[tuple[Client, Client]]:
    """A server's administrator and a user of one tenant, on a database with a synthetic history of forty tenants."""
    if not SERVER:
        pytest.skip("the embedded engine has no access control; name a server in MILLSTREAM_TEST_CLICKHOUSE_URL")
    database, user = f"t{uuid.uuid4().hex[:8]}", f"u{uuid.uuid4().hex[:8]}"
    admin = connect(SERVER, database=database)
    prepare(admin, database)
    for statement in tenant_role(read_schema(admin), TENANT):
        admin.command(statement)
    role = f"`{tenant_role_name(TENANT)}`"
    admin.command(f"CREATE USER {user} IDENTIFIED BY 'pass' DEFAULT ROLE {role}")
    admin.command(f"GRANT {role} TO {user}")
    parts = urlsplit(SERVER)
    url = f"{parts.scheme}://{parts.hostname}:{parts.port or 8123}"
    yield admin, connect(url, user=user, password="pass", database=database)
    admin.command(f"DROP USER {user}")
    admin.command(f"DROP ROLE {role}")
    admin.command(f"DROP DATABASE {database} SYNC")


def read(client: Client, sql: str) -> set[str]:
    """Tenants in the answer; none when the server refuses."""
    try:
        return {str(row[0]) for row in client.query(sql).result_rows}
    except DatabaseError as error:
        assert "ACCESS_DENIED" in str(error) or "Not enough privileges" in str(error), error
        return set()


def test_a_limit_that_is_changed_holds_for_a_role_that_is_there(tenant: tuple[Client, Client]) -> None:
    admin, user = tenant
    for seconds in (33, 44):
        for statement in tenant_role(read_schema(admin), TENANT, Limits(seconds=seconds)):
            admin.command(statement)
        assert str(user.command("SELECT getSetting('max_execution_time')")) == str(seconds)


def test_a_tenant_reads_its_own_rows_and_no_others_by_any_table(tenant: tuple[Client, Client]) -> None:
    admin, user = tenant
    schema = read_schema(admin)
    for table in [*schema.tables, *schema.materialized]:
        column = "tenant" if table in schema.tables and schema.has_tenant(table) else "'another'"
        assert read(user, f"SELECT DISTINCT {column} FROM {table}") <= {TENANT}, table
    assert read(user, "SELECT DISTINCT tenant FROM job_events") == {TENANT}


def test_a_tenant_reads_no_rows_of_others_by_any_view(tenant: tuple[Client, Client]) -> None:
    admin, user = tenant
    for name in view_names():
        described = view(name)
        column = next((each for each in ("tenant", "dimension") if each in described.columns_named), None)
        call = re.sub(r"by='\w*'", "by='tenant'", whole(described))
        if name in tenant_views(read_schema(admin)):
            found = read(user, f"SELECT DISTINCT {column} FROM {call}") if column else set()
            assert found <= {TENANT}, name
        else:
            assert read(user, f"SELECT 'another' FROM {call}") == set(), name


@pytest.mark.parametrize(
    "source",
    [
        "merge(currentDatabase(), '^job_')",
        "remote('127.0.0.1', currentDatabase(), 'job_events')",
        "clusterAllReplicas('default', currentDatabase(), 'job_events')",
        "viewIfPermitted(SELECT tenant FROM job_events ELSE null('tenant String'))",
        "view(SELECT tenant FROM job_events)",
        "loop(job_events)",
        "mergeTreeIndex(currentDatabase(), 'job_events')",
        "url('http://127.0.0.1:8123/', 'CSV', 'tenant String')",
        "file('*', 'CSV', 'tenant String')",
    ],
)
def test_a_tenant_reads_no_rows_of_others_by_table_functions(tenant: tuple[Client, Client], source: str) -> None:
    _, user = tenant
    assert read(user, f"SELECT tenant FROM {source} LIMIT 100000") <= {TENANT}
