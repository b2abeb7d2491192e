"""A small HTTP/1.1 client: one process sends thousands of requests per second and reads each
answer completely. It must be cheap, because it shares the cores with the measured server."""

import asyncio


class Ended(Exception):
    """The connection ended before a complete answer, or could not be opened."""


class Answer:
    __slots__ = ("status", "headers", "body")

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def header(self, name):
        """The value of a header, whose name is given in lower case; `None` if it is absent."""
        for line in self.headers.split(b"\r\n"):
            known, _, value = line.partition(b": ")
            if known.lower() == name:
                return value.decode("latin-1")
        return None


class Connection(asyncio.Protocol):
    """A connection that sends one request after the other."""

    def __init__(self):
        self.transport = None
        self.received = bytearray()
        self.waiting = None
        self.ended = False

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += data
        answer = take_answer(self.received)
        if answer is not None and self.waiting is not None:
            waiting, self.waiting = self.waiting, None
            if (answer.header(b"connection") or "").lower() == "close":
                self.ended = True
                self.transport.close()
            if not waiting.done():
                waiting.set_result(answer)

    def connection_lost(self, error):
        self.ended = True
        if self.waiting is not None and not self.waiting.done():
            progress = "within an answer" if self.received else "without an answer"
            self.waiting.set_exception(Ended(f"the connection ended {progress}: {error}"))

    async def ask(self, request):
        """Sends `request`, as bytes, and waits for the answer."""
        if self.ended:
            raise Ended("the connection had ended")
        self.waiting = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.waiting

    def close(self):
        self.ended = True
        self.transport.abort()


def take_answer(received, without_body=False):
    """Removes a complete answer from the front of `received`; `None` if there is none yet."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    headers = bytes(received[:end])
    at = headers.lower().find(b"\r\ncontent-length: ")
    length = int(headers[at + 18 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    length = 0 if without_body else length
    if len(received) < end + 4 + length:
        return None
    body = bytes(received[end + 4 : end + 4 + length])
    del received[: end + 4 + length]
    return Answer(int(headers[9:12]), headers, body)


class Client:
    """Connections to one server: idle ones are reused, and new ones are opened as needed."""

    def __init__(self, address, source=None):
        """`source`: the address that connections come from; it has a share of the queue."""
        self.source = source and (source, 0)
        self.host, port = address.rsplit(":", 1)
        self.port = int(port)
        self.idle = []

    def request(self, method, path, body=b"", headers=()):
        """A request as bytes, without the empty line; see `send`."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}", *headers]
        if method == "POST":
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    async def send(self, request):
        """Sends bytes on an idle or a new connection. Raises `Ended`."""
        connection = self.take()
        if connection is None:
            loop = asyncio.get_running_loop()
            try:
                _, connection = await loop.create_connection(
                    Connection, self.host, self.port, local_addr=self.source
                )
            except OSError as error:
                raise Ended(f"no connection: {error}") from error
        try:
            answer = await connection.ask(request)
        except BaseException:
            connection.close()
            raise
        if not connection.ended:
            self.idle.append(connection)
        return answer

    def take(self):
        while self.idle:
            connection = self.idle.pop()
            if not connection.ended:
                return connection
        return None

    async def post(self, path, body, headers=()):
        return await self.send(self.request("POST", path, body, headers))

    async def get(self, path):
        return await self.send(self.request("GET", path))

    def close(self):
        for connection in self.idle:
            connection.close()
        self.idle.clear()
