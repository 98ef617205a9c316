"""Parquet and Arrow files as documents, a row each; they are read with pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

from data.corpora.corpus import Document, Options
from data.corpora.fields import choose_field
from data.corpora.rows_text import FIRST_ROWS, RowsText
from data.program import install_command, named
from data.sources.files import FileSource, Unusable
from data.sources.meter import Meter
from data.sources.tally import Tally

PARQUET, ARROW, STREAM = b"PAR1", b"ARROW1\0\0", b"\xff\xff\xff\xff"
BATCH_ROWS = 256


def is_table(head: bytes, name: str) -> bool:
    """Return whether a file with these first bytes is Parquet or Arrow."""
    is_stream = head.startswith(STREAM) and name.lower().endswith(".arrow")
    is_parquet = head.startswith(PARQUET) and (not head[4:5].isascii() or head[4:5] < b" ")
    return is_parquet or is_stream or head.startswith(ARROW)


class ParquetText:
    """The texts of one column."""

    def __init__(self, source: FileSource, head: bytes, options: Options) -> None:
        self.source, self.name, self._options = source, source.name, options
        self._is_parquet = head.startswith(PARQUET)
        self._is_stream = head.startswith(STREAM)
        called = "a Parquet file" if self._is_parquet else "an Arrow file"
        self._called, self._column = called, ""
        self._rows = RowsText(source.name, source.spec, called, options)

    @property
    def size(self) -> int:
        return self.source.size

    def documents(self, meter: Meter, tally: Tally) -> Iterator[Document]:
        pyarrow = _pyarrow(self.source.spec, self._called)
        with self.source.opened(meter.watcher) as file:
            before = meter.read
            try:
                self._column = self._column or self._chosen(file)
                rows = self._texts(file, meter, before)
                yield from self._rows.documents(rows, tally)
            except (pyarrow.ArrowException, EOFError, OSError, ValueError) as error:
                raise Unusable(
                    f"{named(self.source.spec)} is {self._called} that is damaged "
                    f"({str(error).partition(chr(10))[0].rstrip('.')}): get it again",
                    "damaged tables",
                ) from None
            meter.read = before + self.size

    def settle(self, offset: int, meter: Meter) -> None:
        raise NotImplementedError("it has characters already")

    def _texts(self, file: IO[bytes], meter: Meter, before: int) -> Iterator[Any]:
        for batch in self._batches(file, [self._column]):
            meter.tick()
            meter.read = before + min(file.tell(), self.size)
            for value in batch.column(self._column):
                yield {self._column: value.as_py()}

    def _chosen(self, file: IO[bytes]) -> str:
        """Return the column of texts, by the names and types of all and the first rows."""
        from pyarrow import types

        schema = self._schema(file)
        texts = [one.name for one in schema if _is_text(types, one.type)]
        first = next(self._batches(file, texts), None) if texts else None
        rows = first.slice(0, FIRST_ROWS).to_pylist() if first else []
        names = {one.name: None for one in schema}
        return choose_field([names, *rows], self._options.field, self.source.spec, self._called)

    def _schema(self, file: IO[bytes]) -> Any:
        import pyarrow.ipc
        import pyarrow.parquet

        file.seek(0)
        if self._is_parquet:
            return pyarrow.parquet.ParquetFile(file).schema_arrow
        return self._opened(pyarrow.ipc, file).schema

    def _batches(self, file: IO[bytes], columns: list[str]) -> Iterator[Any]:
        import pyarrow.ipc
        import pyarrow.parquet

        file.seek(0)
        if self._is_parquet:
            yield from pyarrow.parquet.ParquetFile(file).iter_batches(BATCH_ROWS, columns=columns)
        elif self._is_stream:
            for batch in self._opened(pyarrow.ipc, file):
                yield batch.select(columns)
        else:
            reader = self._opened(pyarrow.ipc, file)
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number).select(columns)

    def _opened(self, ipc: Any, file: IO[bytes]) -> Any:
        return ipc.open_stream(file) if self._is_stream else ipc.open_file(file)


def _is_text(types: Any, kind: Any) -> bool:
    inner = kind.value_type if types.is_dictionary(kind) else kind
    is_view = getattr(types, "is_string_view", lambda one: False)
    return bool(types.is_string(inner) or types.is_large_string(inner) or is_view(inner))


def _pyarrow(spec: str, called: str) -> Any:
    try:
        import pyarrow
    except ImportError:
        raise Unusable(
            f"{named(spec)} is {called}, which needs another package: {install_command('parquet')}",
            "Parquet or Arrow",
        ) from None
    return pyarrow
