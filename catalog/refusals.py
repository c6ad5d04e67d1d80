"""What the lake's servers say to credentials that don't let in, or don't let do it: one line instead of a traceback."""

from typing import Any

from aiokafka.errors import KafkaError

from catalog.errors import SluiceError
from catalog.settings import lake_settings

# How pyarrow's S3 client words it; the store says no more to a wrong secret than to a missing right.
DENIED = ("AWS Error ACCESS_DENIED", "AWS Error INVALID_ACCESS_KEY_ID", "AWS Error SIGNATURE_DOES_NOT_MATCH")


def refusal(failure: BaseException) -> SluiceError | None:
    """The failure in words for a person, if a server refused; None if it is something else."""
    from catalog.lake import database_refusal, untrusted

    settings = lake_settings()
    if isinstance(failure, OSError) and (told := untrusted(settings, failure)):
        return SluiceError(told)
    if isinstance(failure, OSError) and any(word in str(failure) for word in DENIED):
        return SluiceError(
            f"The object store {settings.s3_endpoint} refuses {settings.s3_identity}: "
            f"{' '.join(str(failure).split())} Check SLUICE_S3_ACCESS_KEY and SLUICE_S3_SECRET_KEY."
        )
    if isinstance(failure, KafkaError):
        from catalog.kafka_client import denial

        told = denial(settings, failure)
        return SluiceError(told) if told else None
    # SQLAlchemy wraps what the driver raised.
    original: Any = getattr(failure, "orig", failure)
    if hasattr(original, "sqlstate") and hasattr(original, "diag"):
        return SluiceError(f"{database_refusal(settings.catalog_uri, original)}. Check SLUICE_CATALOG_URI.")
    return None
