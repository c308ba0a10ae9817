"""Reads CSV files of various programs: with or without a byte-order mark, separated by commas, semicolons or tabs."""

import csv
from collections.abc import Sequence
from pathlib import Path


def read_table(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> list[dict[str, str]]:
    """The rows as mappings from column to text. Columns may be in any order; missing optional columns are empty.

    Raises:
        ValueError: a required column is missing, or the file is no text or no CSV; the message names it.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            sample = stream.readline()
            stream.seek(0)
            separator = max(",;\t", key=sample.count)
            reader = csv.DictReader(stream, delimiter=separator)
            columns = {(name or "").strip(): name for name in reader.fieldnames or ()}
            missing = [name for name in required if name not in columns]
            if missing:
                raise ValueError(
                    f"{path} needs a column named {', '.join(missing)}; it has {', '.join(columns) or 'none'}"
                )
            wanted = [*required, *(name for name in optional if name in columns)]
            rows = [{name: (row[columns[name]] or "").strip() for name in wanted} for row in reader]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text; save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise ValueError(f"{path} is no CSV: {error}") from error
    return [{**dict.fromkeys(optional, ""), **row} for row in rows]
