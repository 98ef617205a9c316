"""Which reader reads a file, by its first bytes."""

from __future__ import annotations

from data.corpora.corpus import Options, Reader
from data.corpora.exports import without_copies
from data.corpora.file_kinds import ZIP, kind_of
from data.corpora.file_text import FileText
from data.corpora.parquet_text import ParquetText, is_table
from data.sources.archive import Archive
from data.sources.files import FileSource
from data.sources.packed import PackedSource, packing_of
from data.sources.tally import Tally


def readers_of(file: FileSource, options: Options, skipped: Tally) -> list[Reader]:
    """Return the readers of a file: one, or one for each member of an archive.

    Args:
        skipped: Receives members that are left out.

    Raises:
        Unusable: It is an archive that cannot be used.
    """
    head = b"" if options.as_before else file.head()
    if packing := packing_of(head):
        return [FileText(PackedSource(file, packing), options)]
    if is_table(head, file.name):
        return [ParquetText(file, head, options)]
    if kind_of(head) == ZIP:
        members = without_copies(Archive(file).members(skipped), skipped)
        return [FileText(one, options) for one in members]
    return [FileText(file, options)]
