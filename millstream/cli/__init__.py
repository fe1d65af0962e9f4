"""The `millstream` command."""

import sys

import click
import structlog
from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import KafkaException

from millstream.cli.app import app
from millstream.cli.output import Failure, complain
from millstream.producers import InvalidJob, SubmitError
from millstream.settings import InvalidSettings

log = structlog.get_logger(__name__)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 a check failed, 2 wrong input or settings, 3 a service is missing."""
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except Failure as failure:
        sys.exit(complain(failure))
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except InvalidSettings as error:
        sys.exit(complain(Failure(str(error), "`millstream config show` prints every setting", code=2)))
    except InvalidJob as error:
        sys.exit(complain(Failure(str(error), "nothing was sent", code=2)))
    except SubmitError as error:
        sys.exit(complain(Failure(str(error), "`millstream doctor` looks for the cause", code=3)))
    except KafkaException as error:
        text = f"Kafka: {error.args[0].str()}"
        sys.exit(complain(Failure(text, "`millstream doctor` looks for the cause; `millstream up` starts one", code=3)))
    except ClickHouseError as error:
        sys.exit(complain(Failure(f"ClickHouse: {error}", "`millstream doctor` looks for the cause", code=3)))
