"""The one data converter of clients, workers and replays, put together from the settings."""

from __future__ import annotations

import sys

from temporalio.converter import DataConverter, ExternalStorage

from workers.conf import WorkersConf
from workers.conf import conf as current_conf
from workers.payloads.claims import DjangoStorageDriver, keeper
from workers.payloads.codecs import codec_of
from workers.payloads.converter import TypedPayloadConverter
from workers.payloads.failures import EncryptedFailures, PayloadFailures
from workers.payloads.policy import Policy


def data_converter(conf: WorkersConf | None = None) -> DataConverter:
    """Reading never depends on the settings, except for the keys in the ring."""
    conf = conf or current_conf()
    codecs = codec_of(conf)
    policy = Policy(
        secrets=conf.payload_secrets,
        redacted_fields=conf.redacted_fields,
        limit=conf.payload_limit_bytes,
        external_threshold=conf.claim_check_bytes or sys.maxsize,
        keep=keeper(codecs),
    )

    made = vars(TypedPayloadConverter(policy))

    class Converter(TypedPayloadConverter):
        """The SDK makes converters without arguments, several a task; this one knows the settings, and all
        of them share what the first one made."""

        def __init__(self) -> None:
            vars(self).update(made)

    return DataConverter(
        payload_converter_class=Converter,
        payload_codec=codecs,
        failure_converter_class=EncryptedFailures if codecs.ring.current else PayloadFailures,
        external_storage=ExternalStorage(
            drivers=[DjangoStorageDriver()], payload_size_threshold=conf.claim_check_bytes or sys.maxsize
        ),
    )
