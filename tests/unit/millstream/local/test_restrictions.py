"""Which statements would leave the engine's folder, by their tokens."""

import re

import pytest

from millstream.local.clickhouse.restrictions import Restrictions, Token

RULES = Restrictions(
    ["numbers", "file", "url", "remote", "executable", "python", "format", "hudiOfTomorrow"],
    ["MergeTree", "ReplicatedMergeTree", "Memory", "File", "URL", "Kafka", "Filesystem", "Atomic", "EngineOfTomorrow"],
    ["aiGenerate", "length"],
)
TOKEN = re.compile(
    r"(?P<StringLiteral>'(?:[^'\\]|\\.)*')|(?P<QuotedIdentifier>`(?:[^`\\]|\\.)*`|\"[^\"]*\"|“[^”]*”)"
    r"|(?P<BareWord>\w+)|(?P<Other>\S)"
)


def reason(statement: str, own_file: str = "") -> str:
    tokens = [Token(str(each.lastgroup), each[0]) for each in TOKEN.finditer(statement)]
    found = RULES.reason(tokens, own_file)
    # Only what may concern the rules is taken apart at all.
    assert not found or RULES.may_concern(statement.encode())
    return found


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM file('/etc/passwd')",
        "SELECT * FROM FILE ('/etc/passwd')",
        "SELECT * FROM `file`('/etc/passwd')",
        "SELECT * FROM \"url\"('http://x')",
        "SELECT * FROM “file”('/etc/passwd')",
        r"SELECT * FROM `fi\x6ce`('/etc/passwd')",
        "SELECT file('/etc/passwd')",
        "SELECT * APPLY(file) FROM t",
        "SELECT * APPLY file FROM t",
        "SELECT * APPLY (file) FROM t",
        "INSERT INTO FUNCTION url('http://x', 'CSV') SELECT 1",
        "INSERT INTO TABLE FUNCTION file('x') VALUES (1)",
        "SELECT 1 INTO OUTFILE '/tmp/x'",
        "INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV",
        "DESCRIBE remote('10.0.0.1', system.one)",
        "CREATE VIEW v AS SELECT * FROM executable('id', 'TSV', 'a String')",
        "SELECT * FROM hudiOfTomorrow('x')",
        "CREATE TABLE t (a Int8) ENGINE = File(CSV, '/etc/passwd')",
        "CREATE TABLE t (a Int8) ENGINE File(CSV)",
        "CREATE TABLE t (a Int8) ENGINE = `URL`('http://x')",
        "CREATE TABLE t (a Int8) ENGINE = Kafka SETTINGS kafka_broker_list = 'x'",
        "CREATE TABLE t (a Int8) ENGINE Kafka SETTINGS kafka_broker_list = 'x'",
        "CREATE DATABASE d ENGINE = Filesystem('/etc')",
        "CREATE DATABASE d ENGINE = EngineOfTomorrow",
        "CREATE DICTIONARY d (a Int8) PRIMARY KEY a SOURCE(HTTP(url 'http://x')) LAYOUT(FLAT())",
        "CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = local, path = '/tmp/')",
        "SELECT 1 FORMAT Template SETTINGS format_template_row = '/etc/passwd'",
        "SET format_schema = '/etc/passwd:x'",
        "SET `format_schema_source` = 'file'",
        "SET dialect = 'kusto'",
        "BACKUP TABLE t TO File('/tmp/x')",
        "RESTORE TABLE t FROM Disk('x', 'y')",
        "ATTACH TABLE t FROM '/tmp/x' (a Int8) ENGINE = Memory",
        "SYSTEM SHUTDOWN",
        "SYSTEM KILL",
        "SYSTEM START LISTEN HTTP",
        "SYSTEM ENABLE FAILPOINT x",
        "SYSTEM RELOAD CONFIG",
        "SELECT aiGenerate('x')",
    ],
)
def test_what_reaches_outside_is_refused(statement: str) -> None:
    assert reason(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM numbers(10)",
        "SELECT 'file(''/etc/passwd'')', 'INTO OUTFILE', 'url(x)'",
        "SELECT url, file, remote FROM visits WHERE file = 'x' GROUP BY url",
        "SELECT engine FROM system.tables WHERE engine = 'File'",
        "SELECT format('{}', length(file)) FROM t",
        "INSERT INTO t (url, file) VALUES (1, 2)",
        "CREATE TABLE t (file String, url String) ENGINE = MergeTree ORDER BY file",
        "CREATE TABLE t (a Int8) ENGINE = ReplicatedMergeTree('/path', 'r') ORDER BY a",
        "CREATE DATABASE d ENGINE = Atomic",
        "ALTER TABLE t ATTACH PARTITION 1 FROM s",
        "ATTACH TABLE t",
        "SYSTEM FLUSH LOGS",
        "SYSTEM STOP MERGES t",
        "SYSTEM DROP MARK CACHE",
        "SELECT dialect FROM languages",
        "SELECT file FROM t WHERE url IN ('x')",
        "",
    ],
)
def test_what_stays_inside_may_run(statement: str) -> None:
    assert reason(statement) == ""


def test_an_insert_reads_the_file_of_its_own_data_and_no_other() -> None:
    assert reason("INSERT INTO t FROM INFILE '/dev/null' FORMAT CSV", "'/dev/null'") == ""
    assert reason("INSERT INTO t FROM INFILE '/etc/passwd' FROM INFILE '/dev/null' FORMAT CSV", "'/dev/null'")


def test_settings_of_a_request_follow_the_same_rules() -> None:
    assert RULES.refused_setting("format_schema") and RULES.refused_setting("Dialect")
    assert not RULES.refused_setting("max_threads")


def test_a_statement_without_any_word_of_the_rules_is_not_taken_apart() -> None:
    assert not RULES.may_concern(b"SELECT count() FROM job_events WHERE tenant = 'profiles'")
    assert RULES.may_concern(b"SELECT FILE('x')")
    assert RULES.may_concern(rb"SELECT `a\x62`")
