"""Which requests are recorded, and how much of them is kept: ``recording`` of serving.json."""

from pydantic import BaseModel, ConfigDict, Field

# The largest values in a file. A typing mistake is refused here and does not fill the disk.
MOST_FILE_MB = 1024
MOST_FILES = 1000
A_YEAR_S = 366 * 24 * 3600


class RecordingPolicy(BaseModel):
    """How requests of a model are recorded. All worker processes of a service write the same files.

    Attributes:
        sample: share of the answered requests that are recorded, 0 to 1; 0 records none, and the right answers to
            those that were recorded before are still accepted.
        max_file_mb: MiB after which the next file begins.
        max_files: files of a model; the oldest one is deleted when there are more.
        feedback_within_s: seconds after a request in which the right answer to it is accepted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    sample: float = Field(default=1.0, ge=0, le=1)
    max_file_mb: int = Field(default=16, ge=1, le=MOST_FILE_MB)
    max_files: int = Field(default=8, ge=1, le=MOST_FILES)
    feedback_within_s: int = Field(default=30 * 24 * 3600, ge=1, le=A_YEAR_S)

    @property
    def max_file_bytes(self) -> int:
        """The same in bytes."""
        return self.max_file_mb * 2**20
