"""The simulated job store: fakeredis, which runs the real scripts, behind a network with faults."""

from __future__ import annotations

import pickle
import random
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, cast

from fakeredis import FakeServer
from fakeredis._clients._sync import FakeRedisConnection
from fakeredis._helpers import SimpleError
from fakeredis._msgs import NO_MATCHING_SCRIPT_MSG
from fakeredis._socket import FakeSocket
from fakeredis.commands_mixins.scripting_mixin import LUA_MODULE, _convert_redis_arg
from redis import ConnectionPool, Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from tests.simulation.commands import ONLY_BYTES, Command, StoreDatabase, encode_json
from tests.simulation.scheduler import EPOCH, Scheduler, SimulatedProcess

if TYPE_CHECKING:
    from tests.simulation.trace import Trace

#: Sets what a script reads and runs it, in one call of Lua instead of four.
_RUN = """
function(script, numkeys, ...)
    local words = {...}
    KEYS = {unpack(words, 1, numkeys)}
    ARGV = {unpack(words, numkeys + 1)}
    return script()
end
"""
_COMMANDS_OF_TWO_WORDS = frozenset({b"SCRIPT", b"CLIENT", b"XINFO", b"XGROUP"})
#: Seconds that a packet takes: shortest and longest.
LATENCY = (0.000_2, 0.002)


class StoreServer:
    """The server and its faults."""

    def __init__(self, scheduler: Scheduler, trace: Trace, rng: random.Random) -> None:
        self.scheduler = scheduler
        self.trace = trace
        self.rng = rng
        self.fake = FakeServer(server_type="valkey")
        self.fake.dbs[0] = StoreDatabase(self.fake.lock)
        self.clock_offset = 0.0
        self.stalled_until = 0.0
        self.down_until = 0.0
        #: Probabilities that a request or a response gets lost, or a connection is reset.
        self.loss = 0.0
        self.run_id = 1
        self.started_at = -86_400.0
        #: What the scripts published since the last command: channel and message.
        self.published: list[tuple[bytes, bytes]] = []
        #: Called after every command with its words and its result.
        self.on_command: Callable[[list[bytes], Any], None] = lambda _words, _result: None
        #: Scripts as Lua functions, by their digests: fakeredis compiles them for each call.
        self._functions: dict[bytes, Any] = {}
        self._lua: Lua | None = None
        self._local: Any = None

    def time(self) -> float:
        """Return the server's clock, in seconds since 1970."""
        return EPOCH + self.scheduler.now + self.clock_offset

    @property
    def keys(self) -> dict[bytes, Any]:
        """Every key with its value, for checks; expired keys may still be there."""
        return self.fake.dbs[0]._dict

    def command(self, *words: bytes) -> Any:
        """Run a command inside the server, without a network."""
        if self._local is None or self._local._server is None:
            self._local = StoreSocket(self, db=0)
        self._local._process_command(list(words))
        return self._local.responses.popleft()

    def lua(self, socket: StoreSocket) -> Lua:
        """Return the interpreter of the scripts, for a call by ``socket``."""
        if self._lua is None:
            self._lua = Lua(socket._get_server_runtime(self.fake))
        self._lua.socket = socket
        return self._lua

    def function(self, digest: bytes, lua: Lua) -> Any:
        """Return a loaded script as a Lua function."""
        function = self._functions.get(digest)
        if function is None:
            script = self.fake.script_cache.get(digest)
            if script is None:
                raise SimpleError(NO_MATCHING_SCRIPT_MSG)
            self._functions[digest] = function = lua.runtime.compile(script)
        return function

    def copy_data(self) -> dict[bytes, Any]:
        # Several times faster than copy.deepcopy.
        copied: dict[bytes, Any] = pickle.loads(pickle.dumps(self.keys))  # noqa: S301
        return copied

    def restart(self, data: dict[bytes, Any] | None = None, *, new_process: bool = True) -> None:
        """Close all connections; ``data``: what the server, or another one, comes back with."""
        for socket in list(self.fake.sockets):
            socket.kill()
        if data is not None:
            database = self.fake.dbs[0]
            database.clear()
            for key, item in data.items():
                database[key] = item
        self.fake.script_cache.clear()
        self._functions.clear()
        self.run_id += 1
        if new_process:
            self.started_at = self.scheduler.now


class StoreSocket(FakeSocket):
    """The server's end of a connection."""

    #: The process at the other end; None for the server's own.
    owner: SimulatedProcess | None = None
    #: Commands by their names and numbers of arguments.
    _commands: ClassVar[dict[tuple[bytes, int], Command]] = {}

    def __init__(self, store: StoreServer, **options: Any) -> None:
        self.store = store
        super().__init__(store.fake, client_class=Redis, **options)
        self.responses: Any = deque()

    def put_response(self, msg: Any) -> None:
        self.responses.append(msg)

    def _process_command(self, fields: list[bytes]) -> None:
        self._db.time = self.store.time()
        try:
            if fields[0] == b"EVALSHA":
                result = self.evalsha(fields[1], int(fields[2]), *fields[3:])
            else:
                result = self._run(*fields)
        except SimpleError as error:
            result = error
        result = self._decode_result(result)
        self.put_response(result)
        self.store.on_command(fields, result)
        self.store.published.clear()

    def _run(self, name: bytes, *args: Any) -> Any:
        """Run a command other than a script and return its result for RESP2."""
        command = self._commands.get((name, len(args))) or self._command(name, args)
        if command is None:
            return self._run(name + b" " + args[0], *args[1:])
        if ONLY_BYTES.issuperset(map(type, args)):
            return command.run(self, list(args))
        return command.run(self, [_convert_redis_arg(arg) for arg in args])

    def _command(self, name: bytes, args: tuple[Any, ...]) -> Command | None:
        """Return a command that runs for the first time; None if its name has a second word."""
        if name in _COMMANDS_OF_TWO_WORDS:
            return None
        function, signature = self._name_to_func(name.decode().lower())
        unbound = function.__func__  # type: ignore[union-attr]
        command = Command(unbound, signature, len(args), self.version)
        self._commands[name, len(args)] = command
        return command

    def _decode_error(self, error: SimpleError) -> Any:
        """Return the error as the real server words it."""
        if "requires the key to exist" in error.value:
            return ResponseError("NOGROUP No such key or consumer group")
        return super()._decode_error(error)

    def publish(self, channel: bytes, message: bytes) -> int:
        self.store.published.append((channel, message))
        return 0

    def evalsha(self, digest: bytes, numkeys: int, *keys_and_args: bytes) -> Any:
        """Run a script as fakeredis does, except what makes it slow for no use here.

        It compiles the script, collects all garbage and looks for global variables each time.
        """
        lua = self.store.lua(self)
        result = lua.run(self.store.function(digest, lua), numkeys, *keys_and_args)
        return self._convert_lua_result(result, nested=False)

    def _convert_lua_result(self, result: Any, nested: bool = True) -> Any:
        if LUA_MODULE.lua_type(result) == "table" and len(result):
            members = [result[index] for index in range(1, len(result) + 1)]
            return [self._convert_lua_result(each) for each in members]
        return super()._convert_lua_result(result, nested)


class Lua:
    """The interpreter of the scripts: fakeredis's, with fewer steps for each call."""

    def __init__(self, runtime: Any) -> None:
        self.runtime = runtime
        #: The connection whose script runs.
        self.socket: StoreSocket
        #: Calls a Lua function: its number of keys, the keys, and the arguments.
        self.run = runtime.eval(_RUN)
        names = runtime.globals()
        names[b"redis"][b"call"] = self._call
        names[b"cjson"][b"encode"] = encode_json

    def _call(self, name: bytes, *args: Any) -> Any:
        """Run a command of a script, without keyspace notifications."""
        result = self.socket._run(name, *args)
        if type(result) is bytes or type(result) is int:
            return result
        if type(result) is list and ONLY_BYTES.issuperset(map(type, result)):
            return self.runtime.table_from(result)
        return self.socket._convert_redis_result(self.runtime, result)


class SimulatedConnection(FakeRedisConnection):
    """The client's end of a connection: redis-py's own code above a simulated network."""

    socket_timeout: float
    socket_connect_timeout: float
    _sock: Any

    def __init__(self, *, store: StoreServer, **options: Any) -> None:
        self.store = store
        self._unsent: list[list[bytes]] = []
        super().__init__(server=store.fake, **options)

    def on_connect(self) -> None:
        """Send no greeting."""

    def connect(self) -> None:
        if self._sock is None:
            self._travel(self.socket_connect_timeout)
            self._sock = StoreSocket(self.store, db=0, client_info=self._client_info)
            self._sock.owner = self.store.scheduler.current

    def connect_check_health(self, *_: Any, **__: Any) -> None:
        self.connect()

    def disconnect(self, *_: Any) -> None:
        self._unsent = []
        if self._sock is not None and self._sock._server is not None:
            self._sock.close()
        self._sock = None

    def check_health(self) -> None:
        """Send no PING: the simulation has no idle connections that a firewall forgot."""

    def send_command(self, *args: Any, **_: Any) -> None:
        self.send_packed_command(self.pack_command(*args))

    def pack_command(self, *args: Any) -> Any:
        """Return the words of the command: the simulated network does not need their bytes."""
        # redis-py passes a command of two words as one.
        words = self._word(args[0]).split()
        words += [arg.encode() if type(arg) is str else self._word(arg) for arg in args[1:]]
        return [words]

    def pack_commands(self, commands: Any) -> Any:
        return [words for command in commands for words in self.pack_command(*command)]

    def _word(self, arg: Any) -> bytes:
        if type(arg) is str:
            return arg.encode()
        encoded: bytes = arg if type(arg) is bytes else self.encoder.encode(arg)
        return encoded

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        self.connect()
        self._unsent += command

    def read_response(self, *args: Any, **options: Any) -> Any:
        if self._unsent:
            commands, self._unsent = self._unsent, []
            try:
                self._exchange(commands)
            except (RedisConnectionError, RedisTimeoutError):
                self.disconnect()
                raise
        response = self._sock.responses.popleft()
        if isinstance(response, Exception):
            raise response
        return response if options.get("disable_decoding") else self._decode(response)

    def _decode(self, response: Any) -> Any:
        if type(response) is bytes:
            return response.decode()
        if type(response) is list:
            return [
                each.decode() if type(each) is bytes else self._decode(each) for each in response
            ]
        return response

    def _exchange(self, commands: list[list[bytes]]) -> None:
        """Bring the request to the server and wait for the response."""
        scheduler, rng = self.store.scheduler, self.store.rng
        deadline = scheduler.now + self.socket_timeout
        socket = self._sock
        self._travel(self.socket_timeout)
        if self.store.stalled_until > deadline:
            # The kernel has the request: when the server continues, it executes it, and only then
            # learns that the client has gone.
            scheduler.at(self.store.stalled_until, lambda: _deliver(socket, commands))
            scheduler.at(self.store.stalled_until, socket.kill)
            self._sock = None
            self._time_out(deadline, "stalled")
        scheduler.sleep(self.store.stalled_until - scheduler.now)
        if socket._killed or self.store.down_until > scheduler.now:
            raise RedisConnectionError("Connection closed by server.")
        _deliver(socket, commands)
        if rng.random() < self.store.loss:
            if rng.random() < 0.5:
                self._disturbed("response lost", until=scheduler.now)
                raise RedisConnectionError("Connection reset by peer.")
            self._disturbed("response lost", until=deadline)
            self._time_out(deadline, "response lost")
        scheduler.sleep(rng.uniform(*LATENCY))
        if scheduler.current.cut_off_until > scheduler.now:
            self._time_out(deadline, "cut off")

    def _travel(self, timeout: float) -> None:
        """Bring a packet to the server, or raise what the client sees if it does not arrive."""
        scheduler, rng = self.store.scheduler, self.store.rng
        deadline = scheduler.now + timeout
        if scheduler.current.cut_off_until > scheduler.now:
            self._time_out(deadline, "cut off")
        if rng.random() < self.store.loss:
            self._disturbed("request lost", until=deadline)
            self._time_out(deadline, "request lost")
        scheduler.sleep(rng.uniform(*LATENCY))
        if self.store.down_until > scheduler.now:
            raise RedisConnectionError("Connection refused.")

    def _time_out(self, deadline: float, why: str) -> None:
        self.store.scheduler.sleep(deadline - self.store.scheduler.now)
        raise RedisTimeoutError(f"Timeout reading from socket ({why})")

    def _disturbed(self, what: str, *, until: float) -> None:
        scheduler = self.store.scheduler
        process = scheduler.current
        process.disturbed_until[scheduler.task] = until
        self.store.trace.add(process.name, what)


def _deliver(socket: StoreSocket, commands: list[list[bytes]]) -> None:
    for words in commands:
        if not socket._killed:
            socket._process_command(words)


class SimulatedPool(ConnectionPool):
    """redis-py's pool without its metrics and locks."""

    def get_connection(self, *_: Any, **__: Any) -> Any:
        free = self._available_connections
        connection = free.pop() if free else self.make_connection()
        self._in_use_connections.add(connection)
        try:
            connection.connect()
        except BaseException:
            self.release(connection)
            raise
        return connection

    def release(self, connection: Any) -> None:
        if connection in self._in_use_connections:
            self._in_use_connections.remove(connection)
            self._available_connections.append(connection)


class StoreClient(Redis):
    """redis-py's client without its metrics, and with the commands that fakeredis lacks."""

    store: StoreServer

    def execute_command(self, *args: Any, **options: Any) -> Any:
        pool = self.connection_pool
        connection = pool.get_connection()
        try:
            return connection.retry.call_with_retry(
                lambda: self._send_command_parse_response(connection, args[0], *args, **options),
                lambda _error: connection.disconnect(),
            )
        finally:
            pool.release(connection)

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any:
        return self.execute_command("EVALSHA", sha, numkeys, *keys_and_args)

    def info(self, *_: Any, **__: Any) -> Any:
        self.ping()
        return {
            "run_id": self.store.run_id,
            "uptime_in_seconds": int(self.store.scheduler.now - self.store.started_at),
        }

    def memory_usage(self, key: Any, *_: Any, **__: Any) -> Any:
        return 500 * self.xlen(key)


def open_client(
    store: StoreServer, *, timeout: float, own_connection: bool = False, retries: int | None = None
) -> StoreClient:
    """Open a client with the timeouts and retries of ``common.job_store.client.open_client``."""
    call_timeout = min(3.0, timeout) if retries is None else timeout / (retries + 1)
    if retries is None:
        retries = max(0, round(timeout / 3) - 1)
    options: Any = {"max_connections": 1} if own_connection else {}
    pool = SimulatedPool(
        connection_class=SimulatedConnection,
        store=store,
        decode_responses=True,
        protocol=2,
        socket_timeout=call_timeout,
        socket_connect_timeout=min(2.0, timeout),
        retry=Retry(ExponentialWithJitterBackoff(cap=1, base=0.1), retries),
        **options,
    )
    client = cast(StoreClient, StoreClient.from_pool(pool))
    client.store = store
    return client


def close_connections(store: StoreServer, process: SimulatedProcess) -> None:
    """Close what a process had open, as the kernel does when it dies."""
    for socket in list(store.fake.sockets):
        if socket.owner is process:
            socket.kill()
