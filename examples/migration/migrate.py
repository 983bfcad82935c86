#!/usr/bin/env python3
"""Brings an SQLite database from one version of its schema to another, forth and back.

    migrate.py DATABASE up          to the latest version
    migrate.py DATABASE down        one version back
    migrate.py DATABASE version     prints the present one

Each step and the number that says it was taken are one transaction: after a crash the database has
the schema of a whole version, and running the same words again is harmless.
"""

import sqlite3
import sys

# Each version: how to get there from the one before, and back. Columns are added before the new
# version of the server gets its first call, and the old one lives with them.
VERSIONS = [
    (
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)",
        "DROP TABLE notes",
    ),
    (
        "ALTER TABLE notes ADD COLUMN author TEXT NOT NULL DEFAULT 'unknown'",
        "ALTER TABLE notes DROP COLUMN author",
    ),
]


def version(connection):
    return connection.execute("PRAGMA user_version").fetchone()[0]


def take(connection, statement, reached):
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {reached}")
    except sqlite3.Error:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    print(f"version {reached}: {statement}")


def up(connection):
    for number in range(version(connection), len(VERSIONS)):
        take(connection, VERSIONS[number][0], number + 1)


def down(connection):
    present = version(connection)
    if present > 0:
        take(connection, VERSIONS[present - 1][1], present - 1)


def main(words):
    if len(words) != 2 or words[1] not in ("up", "down", "version"):
        print(__doc__, file=sys.stderr)
        return 2
    connection = sqlite3.connect(words[0], timeout=10, isolation_level=None)
    try:
        {"up": up, "down": down, "version": lambda it: print(version(it))}[words[1]](connection)
    except sqlite3.Error as error:
        print(f"{words[0]}: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
