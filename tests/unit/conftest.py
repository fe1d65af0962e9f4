"""Settings of all unit tests."""

from hypothesis import HealthCheck, settings

# On a busy machine an example may take any time; what is slow is shown by pytest's list of the slowest tests.
settings.register_profile("millstream", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("millstream")
