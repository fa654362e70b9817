"""LMDB files, in which LSUN is published, read without the library of that name.

The library maps the file and believes every number in it: one that was cut short ends the process. Here pages are
read one by one, and an entry that does not lie within the file is an error.

A file is a list of pages. The first two are alternatives, of which the one of the later transaction counts, and say
where the root of a tree lies. A page begins with a header of 16 bytes and the places of its nodes; a node of a branch
leads to a page, one of a leaf has a key and a value, or, if that is large, the number of the pages that hold it.
Format: `mdb.c` of LMDB 0.9, https://git.openldap.org/openldap/openldap.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_HEADER = struct.Struct("<QHHHH")  # page, padding, flags, end of the places, end of what is free
_META = struct.Struct("<IIQQ IHHQQQQQ IHHQQQQQ QQ")
_NODE = struct.Struct("<HHHH")  # a number of 32 bits, flags or more of it, length of the key
_BRANCH, _LEAF = 1, 2
_LARGE, _NESTED = 1, 6  # flags of nodes: the value is elsewhere; it is a database, or one of several values
_NOWHERE = 2**64 - 1
_DEEPEST = 32


def entries(path: Path) -> Iterator[tuple[bytes, int, int]]:
    """The keys of a file, in their order, with where their values lie: offset and length in bytes.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such file, or damaged.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            page_size, root = _root(file, size)
            if root != _NOWHERE:
                yield from _Tree(file, size, page_size).walk(root)
    except struct.error as error:
        raise ValueError(f"a page of it is damaged: {error}") from error


def _root(file: IO[bytes], size: int) -> tuple[int, int]:
    """The size of a page, and the number of the root."""
    found, page_size = [], 4096
    for number in range(2):
        file.seek(number * page_size)
        page = file.read(_HEADER.size + _META.size)
        magic, version, *_ = meta = _META.unpack_from(page, _HEADER.size)
        if (magic, version) != (_MAGIC, _VERSION):
            raise ValueError("it does not begin as an LMDB file")
        page_size, root, transaction = meta[4], meta[19], meta[21]
        if page_size not in (2**n for n in range(9, 17)) or size < 2 * page_size:
            raise ValueError(f"its pages are of {page_size} bytes")
        found.append((transaction, root))
    return page_size, max(found, key=lambda one: one[0])[1]


class _Tree:
    def __init__(self, file: IO[bytes], size: int, page_size: int) -> None:
        self.file, self.size, self.page_size = file, size, page_size
        self.seen: set[int] = set()

    def walk(self, number: int, depth: int = 0) -> Iterator[tuple[bytes, int, int]]:
        """What lies below a page."""
        if number in self.seen or depth > _DEEPEST:
            raise ValueError("its pages lead in circles")
        self.seen.add(number)
        start = number * self.page_size
        if start + self.page_size > self.size:
            raise ValueError("it has been cut short")
        self.file.seek(start)
        page = self.file.read(self.page_size)
        _, _, flags, lower, _ = _HEADER.unpack_from(page)
        if flags & (_BRANCH | _LEAF) not in (_BRANCH, _LEAF) or not _HEADER.size <= lower <= self.page_size:
            raise ValueError(f"page {number} is neither branch nor leaf")
        for (place,) in struct.iter_unpack("<H", page[_HEADER.size : lower - lower % 2]):
            low, high, more, length = _NODE.unpack_from(page, place)
            if flags & _BRANCH:
                yield from self.walk(low | high << 16 | more << 32, depth + 1)
            else:
                yield self._entry(page, start, place, low | high << 16, more, length)

    def _entry(
        self, page: bytes, start: int, place: int, size: int, flags: int, length: int
    ) -> tuple[bytes, int, int]:
        if flags & _NESTED:
            raise ValueError("it has a database within, which those of LSUN have not")
        value = place + _NODE.size + length
        key = page[place + _NODE.size : value]
        offset = start + value
        if flags & _LARGE:
            offset = struct.unpack_from("<Q", page, value)[0] * self.page_size + _HEADER.size
        elif value + size > self.page_size:
            raise ValueError("it has a value that is larger than its page")
        if len(key) < length or offset + size > self.size:
            raise ValueError("it has been cut short")
        return key, offset, size
