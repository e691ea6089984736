"""The errors that people see.

TriggersError
├── RulesUnusable      the rules folder cannot be used at all (missing, unreadable, no _shop.yaml)
├── InputUnusable      a log, a file or an argument cannot be used
├── OutputUnusable     what was to be written cannot be (disk full, no permission)
└── ServiceUnusable    the service cannot start or go on (port in use, database locked by another)
    ├── PartitionLost  a worker was shut out of a partition: another one has taken it over
    └── AccessRefused  Kafka does not let this process in, or is not who it should be: to try again is of no use

What is expected is a value, not an error: a finding in a rule file, a line that is not an event, a wait that ends.
"""


class TriggersError(Exception):
    """An operating fault, worded for the person who can mend it."""


class RulesUnusable(TriggersError):  # noqa: N818  the name reads as the sentence
    """The rules folder cannot be used at all."""


class InputUnusable(TriggersError):  # noqa: N818
    """A log, a file or an argument cannot be used."""


class OutputUnusable(TriggersError):  # noqa: N818
    """A file cannot be written."""


class ServiceUnusable(TriggersError):  # noqa: N818
    """The service cannot start or go on."""


class PartitionLost(ServiceUnusable):
    """A worker was shut out of a partition: another one has taken it over."""


class AccessRefused(ServiceUnusable):
    """Kafka does not let this process in, or is not who it should be: to try again is of no use."""
