"""The `millstream` command."""

import sys

from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import KafkaException

from millstream.analytics import ClickHouseUnavailable, MigrationError
from millstream.cli.app import app
from millstream.cli.output import Failure, complain
from millstream.local.broker import BrokerUnavailable
from millstream.local.process import DidNotStart
from millstream.local.stack import StackRunning
from millstream.producers import InvalidJob, SubmitError
from millstream.schemas import RegistryUnavailable
from millstream.settings import InvalidSettings
from millstream.streams import UnsupportedOption


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 a check failed, 2 wrong input or settings, 3 a service is missing."""
    try:
        app()
    except Failure as failure:
        sys.exit(complain(failure))
    except InvalidSettings as error:
        sys.exit(complain(Failure(str(error), "`millstream config show` prints every setting", code=2)))
    except InvalidJob as error:
        sys.exit(complain(Failure(str(error), "nothing was sent", code=2)))
    except SubmitError as error:
        sys.exit(complain(Failure(str(error), "`millstream doctor` looks for the cause", code=3)))
    except KafkaException as error:
        text = f"Kafka: {error.args[0].str()}"
        sys.exit(complain(Failure(text, "`millstream doctor` looks for the cause; `millstream up` starts one", code=3)))
    except RegistryUnavailable as error:
        sys.exit(complain(Failure(str(error), "nothing was lost: it is read again at the next start", code=3)))
    except ClickHouseUnavailable as error:
        sys.exit(complain(Failure(str(error), "`millstream up` starts one; `millstream doctor` looks closer", code=3)))
    except ClickHouseError as error:
        sys.exit(complain(Failure(f"ClickHouse: {str(error).strip()}", code=3)))
    except (UnsupportedOption, BrokerUnavailable) as error:
        sys.exit(complain(Failure(str(error), code=2)))
    except (StackRunning, DidNotStart, MigrationError) as error:
        sys.exit(complain(Failure(str(error), code=3)))
