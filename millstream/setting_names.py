"""Names of settings and of the variables that set them: which ones exist, and which one a misspelled name may mean.

Pure. This module is below the settings, which pass in what they have.
"""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

PREFIX = "MILLSTREAM_"
NOT_SETTINGS = {"MILLSTREAM_CONFIG", "MILLSTREAM_EMBEDDED_PASSWORD", "MILLSTREAM_SUPERVISED"}
OF_OTHERS = ("MILLSTREAM_TEST_", "MILLSTREAM_GRAFANA_")
"""Variables of the tests and of the Grafana data source."""

OF_KUBERNETES = re.compile(r".*(_SERVICE_HOST|_SERVICE_PORT(_.*)?|_PORT_\d+_(TCP|UDP|SCTP)(_.*)?)")
"""Kubernetes sets these in every container of a namespace with a service of this name, and `..._PORT` to a URL."""


def variable_of(setting: str) -> str:
    """The variable that sets a setting: `MILLSTREAM_KAFKA__BOOTSTRAP` for `kafka.bootstrap`."""
    return PREFIX + setting.replace(".", "__").upper()


def unknown_variables(environment: Mapping[str, str], settings: Iterable[str]) -> list[str]:
    """The variables that begin like those of settings, but belong to no setting and no group; `settings` are all names,
    such as `kafka.bootstrap`. Those of a known group are not checked."""
    groups = {name.partition(".")[0] for name in settings}
    known = {variable_of(group) for group in groups} | NOT_SETTINGS
    return [
        name
        for name, value in environment.items()
        if name.upper().startswith(PREFIX)
        and name.upper().partition("__")[0] not in known
        and not name.startswith(OF_OTHERS)
        and not OF_KUBERNETES.fullmatch(name)
        and not (name.endswith("_PORT") and "://" in value)
    ]


def nearest_setting(name: str, settings: Iterable[str]) -> str | None:
    """The setting that a misspelled name (`workers.concurency`) means most likely; None when none is near."""
    settings = list(settings)
    group, dot, field = name.lower().partition(".")
    groups = sorted({each.partition(".")[0] for each in settings if "." in each})
    if dot and (near := get_close_matches(group, groups, 1, 0.75)):
        fields = [each for each in settings if each.startswith(f"{near[0]}.")]
        right = f"{near[0]}.{field}"
        return right if right in fields else next(iter(get_close_matches(right, fields, 1, 0.75)), None)
    # The separator may be what is wrong: MILLSTREAM_KAFKA_BOOTSTRAP.
    by_words = {each.replace(".", "_"): each for each in settings}
    found = get_close_matches(name.lower().replace(".", "_"), by_words, 1, 0.75)
    return by_words[found[0]] if found else None
