import http.server
import socket
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pytest
from PIL import Image

from models import export
from models.data.image_format import ImageFormat
from serving import client
from tests.support import tf_serving_double

SHAPE, NAMES = (8, 8, 1), ("zero", "one", "two")
CLIENTS = {"grpc": client.GrpcClient, "rest": client.RestClient}


@pytest.fixture(scope="module")
def base_path(tmp_path_factory):
    """Versions 1 and 2 of a model; they answer differently."""
    base = tmp_path_factory.mktemp("models") / "mdenas"
    for version in (1, 2):
        keras.utils.set_random_seed(version)
        model = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)])
        export.export_model(
            model,
            str(base / str(version)),
            image_format=ImageFormat(SHAPE),
            class_names=NAMES,
            mean=[0.5],
            std=[0.5],
            top_k=2,
        )
    return base


@pytest.fixture(scope="module")
def server(base_path):
    with tf_serving_double.Server("mdenas", str(base_path)) as server:
        yield server


@pytest.fixture(params=["grpc", "rest"])
def protocol(request):
    return request.param


def connect(server, protocol, **options):
    host = {"grpc": server.grpc_host, "rest": server.rest_host}[protocol]
    return CLIENTS[protocol](host, options.pop("model", "mdenas"), **options)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    paths = []
    for number, suffix in enumerate(["png", "jpg", "png"]):
        paths.append(str(folder / f"{number}.{suffix}"))
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(paths[-1])
    return paths


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "serving.client", *arguments], capture_output=True, text=True, timeout=120
    )


def test_numbers_travel_both_ways(server, protocol):
    images = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), dtype=np.uint8)
    _, servable = server.servable("mdenas")
    expected = servable.predict("serve_uint8", {"images": images})
    for signature, sent in (("serve_uint8", images), ("serving_default", images.astype(np.float32))):
        outputs = connect(server, protocol).predict(signature, images=sent)
        assert set(outputs) == set(expected)
        np.testing.assert_allclose(outputs["probabilities"], expected["probabilities"], atol=1e-6)
        np.testing.assert_array_equal(outputs["class_ids"], expected["class_ids"])
        assert outputs["class_names"].tolist() == [[NAMES[i] for i in row] for row in expected["class_ids"]]


def test_the_newest_version_answers_unless_one_is_asked_for(server, protocol):
    image = np.full((1, *SHAPE), 200, np.uint8)
    found = {
        version: connect(server, protocol, version=version).predict("serve_uint8", images=image)["probabilities"]
        for version in (None, 1, 2)
    }
    np.testing.assert_array_equal(found[None], found[2])
    assert abs(found[1] - found[2]).max() > 0.01


def test_both_protocols_classify_files_alike_whatever_the_batch(server, pictures):
    results = [
        list(client.classify(connect(server, protocol), pictures, batch_size))
        for protocol in ("grpc", "rest")
        for batch_size in (1, 2, 32)
    ]
    assert [result.path for result in results[0]] == pictures
    for other in results:
        for one, two in zip(results[0], other, strict=True):
            assert not one.error
            assert [name for name, _ in one.classes] == [name for name, _ in two.classes]
            np.testing.assert_allclose([s for _, s in one.classes], [s for _, s in two.classes], atol=1e-5)
    assert len({result.classes for result in results[0]}) == 3


def test_broken_and_missing_files_are_named_and_the_others_classified(server, protocol, pictures, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG nothing more")
    paths = [pictures[0], str(broken), str(tmp_path / "missing.png"), pictures[1]]
    results = list(client.classify(connect(server, protocol), paths))
    assert [result.path for result in results] == paths
    assert [bool(result.classes) for result in results] == [True, False, False, True]
    assert results[1].error == export.DECODE_ERROR
    assert "No such file" in results[2].error


@pytest.mark.parametrize(
    "signature, inputs, message",
    [
        ("serve_images", {"images": np.zeros((1, *SHAPE), np.uint8)}, "serve_images.* not found"),
        ("serve_uint8", {"pixels": np.zeros((1, *SHAPE), np.uint8)}, "input tensor alias not found.*images"),
        ("serve_uint8", {"images": np.full((1, *SHAPE), 0.5, np.float32)}, "uint8"),
        ("serving_default", {"images": np.zeros((1, 5, 5, 1), np.float32)}, r"\(1, 5, 5, 1\)"),
        ("serve_examples", {"examples": np.array([b"no example"], object)}, "ParseExample|parse"),
    ],
    ids=["signature", "input", "dtype", "shape", "example"],
)
def test_a_wrong_request_gets_the_servers_reason(server, protocol, signature, inputs, message):
    asked = connect(server, protocol)
    with pytest.raises(client.ServingError, match=message) as caught:
        asked.predict(signature, **inputs)
    assert str(caught.value).startswith("localhost:")
    right = asked.predict("serve_uint8", images=np.zeros((1, *SHAPE), np.uint8))
    assert right["class_ids"].shape == (1, 2), "the server must go on answering"


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
@pytest.mark.parametrize("content", [None, b"no certificate", b"\xff"], ids=["missing", "text", "bytes"])
def test_certificates_that_cannot_be_read_are_named(protocol, content, pictures, tmp_path, capsys):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    flags = [pictures[0], f"--certificates={path}", *(["--rest"] if protocol == "rest" else [])]
    assert client.main(flags) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{path} holds no certificates that can be read: ")


def test_requests_and_answers_may_be_larger_than_grpcs_own_limit(server):
    images = np.random.default_rng(0).integers(0, 256, (90_000, *SHAPE), dtype=np.uint8)
    outputs = connect(server, "grpc", timeout=60).predict("serve_uint8", images=images)
    assert images.nbytes > 4 * 2**20
    assert sum(output.nbytes for output in outputs.values()) > 4 * 2**20
    assert outputs["probabilities"].shape == (90_000, 3)


@pytest.mark.parametrize("written", ["http://{}", "http://{}/", "{}/"])
def test_a_host_may_be_written_as_an_address_of_the_web(server, written):
    asked = client.RestClient(written.format(server.rest_host), "mdenas")
    answer = asked.predict("serve_uint8", images=np.zeros((1, *SHAPE), np.uint8))
    assert answer["class_ids"].shape == (1, 2)


@pytest.mark.parametrize(
    "host, certificates, url",
    [
        ("models.example:443", None, "http://models.example:443/"),
        ("models.example:443", "ca.pem", "https://models.example:443/"),
        ("https://models.example:443/", None, "https://models.example:443/"),
        ("[::1]:8501", None, "http://[::1]:8501/"),
        ("http://[fe80::1]:8501", None, "http://[fe80::1]:8501/"),
    ],
)
def test_where_a_request_goes(monkeypatch, host, certificates, url):
    monkeypatch.setattr(client.ssl, "create_default_context", lambda **_: None)
    assert client.RestClient(host, "m", certificates=certificates)._url == f"{url}v1/models/m:predict"


NO_HOSTS = (
    *("", "localhost", "http://localhost", "localhost:", "localhost:port", "localhost:99999", "localhost:0", ":8501"),
    *("::1", "::1:8501", "[::1]", "[::1:8501", "ftp://localhost:8501", "http:/localhost:8501", "http//localhost:8501"),
    *("http://http://localhost:8501", "localhost:8501/v1/models/mdenas", "localhost:8501?x=1", "localhost :8501"),
    *("me:secret@localhost:8501", "localhost:8501//"),
)


@pytest.mark.parametrize("host", NO_HOSTS)
def test_what_is_no_host_is_said_so_before_anything_is_sent(host, protocol, pictures, capsys):
    flags = [pictures[0], f"--host={host}", *(["--rest"] if protocol == "rest" else [])]
    assert client.main(flags) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"The host is {host!r}, but ")
    assert "ADDRESS:PORT" in line


@pytest.mark.parametrize("host", ["http://localhost:8500", "https://localhost:8500", "dns:///localhost:8500"])
def test_grpc_takes_no_scheme(host):
    with pytest.raises(client.ServingError, match="gRPC takes ADDRESS:PORT alone"):
        client.GrpcClient(host, "mdenas")


def test_certificates_for_a_connection_that_is_not_encrypted_are_refused():
    with pytest.raises(client.ServingError, match="write https://"):
        client.RestClient("http://localhost:8501", "mdenas", certificates="ca.pem")


@pytest.mark.parametrize("options", [{"model": "other"}, {"version": 7}])
def test_an_unknown_model_or_version_is_named(server, protocol, options):
    with pytest.raises(client.ServingError, match="Servable not found.*(other|7)"):
        connect(server, protocol, **options).predict("serve_uint8", images=np.zeros((1, *SHAPE), np.uint8))


def test_no_server_is_said_so(protocol):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        host = f"localhost:{free.getsockname()[1]}"
    with pytest.raises(client.ServingError, match=f"{host}.*(UNAVAILABLE|refused)"):
        CLIENTS[protocol](host, "mdenas", timeout=5).predict("serve_uint8", images=np.zeros((1, *SHAPE), np.uint8))


def test_a_slow_server_is_given_up(base_path, protocol):
    with tf_serving_double.Server("mdenas", str(base_path), delay=2) as slow:
        started = time.monotonic()
        with pytest.raises(client.ServingError, match=r"no answer within 0\.3 s"):
            connect(slow, protocol, timeout=0.3).predict("serve_uint8", images=np.zeros((1, *SHAPE), np.uint8))
        assert time.monotonic() - started < 1.5


def test_something_else_on_the_rest_port_is_said_so():
    class Page(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("localhost", 0), Page) as page:
        threading.Thread(target=page.serve_forever, daemon=True).start()
        with pytest.raises(client.ServingError, match="not an answer of TF Serving"):
            client.RestClient(f"localhost:{page.server_address[1]}", "mdenas").predict(
                "serve_uint8", images=np.zeros((1, *SHAPE), np.uint8)
            )
        page.shutdown()


def test_command_line_prints_a_line_a_picture(server, protocol, pictures, tmp_path):
    missing = str(tmp_path / "missing.png")
    host, flags = (server.grpc_host, []) if protocol == "grpc" else (server.rest_host, ["--rest"])
    done = command(*flags, f"--host={host}", "--model=mdenas", pictures[0], missing, pictures[1])
    lines = done.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == pictures[:2]
    assert all(name.split()[0] in NAMES for line in lines for name in line.split("  ")[1:])
    assert f"{missing}: No such file or directory" in done.stderr
    assert done.returncode == 1


def test_command_line_says_in_one_line_why_there_is_no_answer(server, pictures):
    done = command("--rest", f"--host={server.rest_host}", "--model=other", pictures[0])
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "Servable not found" in done.stderr
