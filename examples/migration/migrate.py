#!/usr/bin/env python3
"""Brings an SQLite database from one version of its schema to another, forth and back.

    migrate.py DATABASE up          to the latest version
    migrate.py DATABASE down N      back to version N
    migrate.py DATABASE version     prints the present one

Each step and the number that says it was taken are one transaction: after a crash the database has
the schema of a whole version. Both ways name where they lead, so that running the same words again
is harmless; "one version back" would go back twice.
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


def down(connection, wanted):
    for number in range(version(connection), wanted, -1):
        take(connection, VERSIONS[number - 1][1], number - 1)


def main(words):
    verb, rest = " ".join(words[1:2]), words[2:]
    is_down = verb == "down" and len(rest) == 1 and rest[0].isdecimal()
    if not is_down and (verb not in ("up", "version") or rest):
        print(__doc__, file=sys.stderr)
        return 2
    connection = sqlite3.connect(words[0], timeout=10, isolation_level=None)
    try:
        if verb == "up":
            up(connection)
        elif verb == "down":
            down(connection, int(rest[0]))
        else:
            print(version(connection))
    except sqlite3.Error as error:
        print(f"{words[0]}: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
