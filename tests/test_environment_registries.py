"""Registries of the machine, their passwords' masks, and the proxy that builds reach them through."""

import asyncio
from pathlib import Path

import pytest

from sandbox.environment.proxy import RegistryProxy
from sandbox.environment.registries import MaskedOutput, Registries

NPM = "registry=https://npm.example/\n//npm.example/:_authToken=npm_abcdef\n"
HOSTS = ["127.0.0.1", "localhost", "169.254.169.254", "0.0.0.0", "[::1]", "2130706433"]
WRONG = ["nonsense\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "CONNECT x:y HTTP/1.1\r\n\r\n"]


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_pip_settings_hold_for_pip_and_uv(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (tmp_path / "index" / "simple").mkdir(parents=True)
    certificate = written(tmp_path / "ca.pem", "")
    config = written(
        tmp_path / "pip.conf",
        f"[global]\nindex-url = https://me:s3cr3t%21@pypi.example:8443/simple\nfind-links = {wheels}\n"
        f"extra-index-url = file://{tmp_path}/index/simple\ncert = {certificate}\n",
    )
    found = Registries.read({"PIP_CONFIG_FILE": str(config), "PIP_TIMEOUT": "60"}, tmp_path)
    assert found.variables["PIP_INDEX_URL"] == found.variables["UV_DEFAULT_INDEX"]
    assert found.variables["UV_HTTP_TIMEOUT"] == "60"
    assert found.variables["SSL_CERT_FILE"] == found.variables["NODE_EXTRA_CA_CERTS"] == str(certificate)
    assert {str(wheels), str(tmp_path / "index"), str(certificate)} <= set(found.paths)
    assert ("pypi.example", 8443) in found.hosts
    assert found.mask("GET https://me:s3cr3t%21@pypi.example/simple s3cr3t! 401") == (
        "GET https://***@pypi.example/simple *** 401"
    )


def test_of_npm_settings_only_registries_and_their_passwords_enter_the_build(tmp_path: Path) -> None:
    written(
        tmp_path / ".npmrc",
        f"{NPM}prefix=/root\nscript-shell=/bin/evil\n",
    )
    found = Registries.read(
        {"HOME": "/root", "GITHUB_TOKEN": "ghp_123456", "UV_INDEX_SHOP_PASSWORD": "hunter22"}, tmp_path
    )
    assert found.home_files[".npmrc"].endswith(NPM)
    assert "prefix" not in found.home_files[".npmrc"]
    assert found.variables["UV_INDEX_SHOP_PASSWORD"] == "hunter22"
    assert "GITHUB_TOKEN" not in found.variables
    assert found.mask("token npm_abcdef, password hunter22") == "token ***, password ***"


def test_passwords_that_nobody_configured_are_masked_in_addresses() -> None:
    assert Registries().mask("cloning https://user:pa55@git.example/x") == "cloning https://***@git.example/x"


def test_a_password_in_two_pieces_is_masked() -> None:
    heard: list[str] = []
    output = MaskedOutput(Registries(secrets=frozenset({"hunter22"})).mask, heard.append)
    for piece in ("use hun", "ter22\nand hunt", "er22"):
        output.feed(piece)
    output.flush()
    assert heard == ["use ***\n", "and ***\n"]
    assert output.text == "use ***\nand ***\n"


async def asked(proxy: RegistryProxy, request: str) -> str:
    reader, writer = await asyncio.open_unix_connection(str(proxy.path))
    writer.write(request.encode())
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer.decode()


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "s"


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + head)
    writer.close()


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "169.254.169.254", "0.0.0.0", "[::1]", "2130706433", "168.63.129.16"),
        *("100.100.100.200", "[64:ff9b::a9fe:a9fe]", "[::ffff:7f00:1]"),
    ],
)
async def test_a_build_cannot_reach_this_machine_or_its_metadata(socket: Path, host: str) -> None:
    async with RegistryProxy(socket, {}, ()) as proxy:
        for port in (80, 443, 22, 8000):
            assert "403 Forbidden" in await asked(proxy, f"CONNECT {host}:{port} HTTP/1.1\r\n\r\n")
        assert "403 Forbidden" in await asked(proxy, f"GET http://{host}/latest/meta-data HTTP/1.1\r\n\r\n")
    assert f"{host.strip('[]')}:22" in proxy.refused


async def test_a_configured_registry_may_be_on_this_machine(socket: Path) -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, RegistryProxy(socket, {}, {("127.0.0.1", port)}) as proxy:
        request = (
            f"GET http://127.0.0.1:{port}/simple/x?a=1 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: y\r\n\r\n"
        )
        answer = await asked(proxy, request)
        assert "GET /simple/x?a=1 HTTP/1.1\r\nConnection: close\r\nHost: x\r\n" in answer
        assert "Proxy-Authorization" not in answer
        tunnel = await asked(proxy, f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n")
        assert "200 Connection established\r\n\r\nHTTP/1.1 200 OK\r\n\r\nGET / HTTP/1.1" in tunnel


async def test_the_machines_proxy_is_used_and_its_password_stays_outside(socket: Path) -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    address = f"http://me:pw@127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, RegistryProxy(socket, {"HTTPS_PROXY": address}, ()) as proxy:
        answer = await asked(proxy, "CONNECT pypi.example:443 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert "CONNECT pypi.example:443 HTTP/1.1\r\nProxy-Authorization: Basic bWU6cHc=\r\nHost: a\r\n" in answer


async def test_the_machines_proxy_gets_one_request_of_a_connection_which_was_checked(socket: Path) -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, RegistryProxy(socket, {"HTTP_PROXY": address}, ()) as proxy:
        asks = "GET http://pypi.example/ HTTP/1.1\r\nConnection: keep-alive\r\nHost: a\r\n\r\n"
        told = "GET http://pypi.example/ HTTP/1.1\r\nConnection: close\r\nHost: a\r\n\r\n"
        assert (await asked(proxy, asks)).endswith(told)
        second = "\n\nGET http://169.254.169.254/ HTTP/1.1"
        for smuggled in (asks.replace("\r\n", second + "\r\n", 1), asks.replace("keep-alive", second)):
            assert "502" in await asked(proxy, smuggled)


@pytest.mark.parametrize("request_text", WRONG)
async def test_requests_that_are_wrong_end_with_an_error(socket: Path, request_text: str) -> None:
    async with RegistryProxy(socket, {}, ()) as proxy:
        assert "502" in await asked(proxy, request_text)
