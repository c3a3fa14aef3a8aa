"""What fakeredis does for each command, without the parts that only take time here.

fakeredis finds out for each call how a command reads its arguments, and wakes up clients that block
or watch a key. In the simulation no client does either.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, cycle
from typing import Any, Final

import orjson
from fakeredis._commands import Key, Signature
from fakeredis._core import Database
from fakeredis._core._database import CommandItem, Item
from fakeredis._helpers import SimpleError
from fakeredis._msgs import FLAG_DO_NOT_CREATE, FLAG_LEAVE_EMPTY_VAL, WRONGTYPE_MSG
from fakeredis._socket._resp import convert_to_resp2
from fakeredis.commands_mixins.scripting_mixin import LUA_MODULE, _cjson_lua_to_python

#: The type of what both protocols and Lua represent as it is.
ONLY_BYTES: Final = frozenset({bytes})
#: Types of results that RESP2 does not change.
_SIMPLE_RESULTS: Final = frozenset({bytes, int, type(None)})


class StoreDatabase(Database):
    """fakeredis's keys and values. It wakes up no client, and finds a key with one look-up."""

    def notify_watch(self, key: bytes) -> None:
        """Do nothing: no client watches a key or blocks."""

    def get(self, key: bytes, default: Any = None) -> Any:
        item = self._dict.get(key)
        if item is None:
            return default
        if item.expireat is not None and item.expireat < self.time:
            del self._dict[key]
            return default
        return item


class StoreItem(CommandItem):
    """A key that a command got as an argument."""

    def writeback(self, remove_empty_val: bool = True) -> None:
        """Store the value that the command has changed, or remove the key, as fakeredis does."""
        value, database = self._value, self.db
        if value is None or (remove_empty_val and type(value) is not bytes and not value):
            database.pop(self.key, None)
            return
        item = database.get(self.key)
        if item is None:
            database[self.key] = item = Item(None)
        item.value, item.expireat = value, self._expireat
        if self._expireat is not None:
            database.schedule_expiry(self.key, self._expireat)


class Command:
    """A command with a certain number of arguments."""

    def __init__(
        self, function: Callable[..., Any], signature: Signature, count: int, version: Any
    ) -> None:
        """Raise ``SimpleError`` if the command does not take ``count`` arguments."""
        signature.check_arity(range(count), version)
        repeated = cycle(signature.repeat)
        types: list[Any] = [
            *signature.fixed,
            *(next(repeated) for _ in range(len(signature.fixed), count)),
        ]
        creates = FLAG_DO_NOT_CREATE not in signature.flags
        self._function = function
        self._removes_empty = FLAG_LEAVE_EMPTY_VAL not in signature.flags
        #: Positions of the keys, their types, what a missing key starts as, and the result if the
        #: command does nothing without the key.
        self._keys = [
            (
                i,
                type_.type_,
                type_.type_ if creates and type_.type_ is not bytes else None,
                type_.missing_return,
            )
            for i, type_ in enumerate(types)
            if isinstance(type_, Key)
        ]
        #: Positions of the arguments that are neither keys nor plain bytes, and their decoders.
        self._decoded = [
            (i, type_.decode)
            for i, type_ in enumerate(types)
            if type_ is not bytes and not isinstance(type_, Key)
        ]

    def run(self, socket: Any, words: list[Any]) -> Any:
        """Run the command with the arguments ``words`` and return its result for RESP2."""
        database, items = socket._db, []
        for i, type_, initial, result in self._keys:
            item, default = database.get(words[i]), None
            if item is None:
                if result is not Key.UNSPECIFIED:
                    return result
                default = initial and initial()
            elif type_ is not None and type(item.value) is not type_:
                raise SimpleError(WRONGTYPE_MSG)
            words[i] = StoreItem(words[i], database, item, default=default)
            items.append(words[i])
        for i, decode in self._decoded:
            words[i] = decode(words[i])
        result = self._function(socket, *words)
        for item in items:
            if item._modified:
                item.writeback(self._removes_empty)
        return result if type(result) in _SIMPLE_RESULTS else _for_resp2(result)


def _for_resp2(result: Any) -> Any:
    if type(result) is dict:
        result = list(chain.from_iterable(result.items()))
    if type(result) is list and ONLY_BYTES.issuperset(map(type, result)):
        return result
    return convert_to_resp2(result)


def encode_json(value: Any) -> bytes:
    """Return a Lua value as JSON, in the same words as fakeredis's ``cjson.encode``."""
    return orjson.dumps(_from_lua(value))


def _from_lua(value: Any) -> Any:
    """Convert a Lua value; at once if it is a table whose keys are strings."""
    if LUA_MODULE.lua_type(value) == "table":
        members = dict(value.items())
        if members and ONLY_BYTES.issuperset(map(type, members)):
            return {
                name.decode(): member.decode() if type(member) is bytes else _from_lua(member)
                for name, member in members.items()
            }
    return _cjson_lua_to_python(value)
