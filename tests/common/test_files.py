from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mckp_quant import InvalidInput
from mckp_quant.common.files import (
    check_regular,
    parse_json,
    read_json,
    read_text,
    read_toml,
    readable,
    temporary_folder,
    write_text,
    writing,
)
from mckp_quant.common.packages import PackageMissing
from mckp_quant.common.shown import shown

posix = pytest.mark.skipif(os.name != "posix", reason="pipes, devices and modes are a POSIX matter")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 65 + "]" * 65, "'.*f.json' cannot be read: it is nested more than 64 deep; it is no table"),
        ("[" * 200_000, "'.*f.json' cannot be read: it is nested more than 64 deep"),
        ('{"a": 1,\n "b": ' + "9" * 309 + "}", "'.*f.json', line 2 cannot be read: a number has 309 digits"),
        ('{"a": 1,\n "a": 2}', "'.*f.json', line 1 cannot be read: 'a' stands twice in one object"),
        (r'["\ud800"]', r"cannot be read: '\\ud800' holds half a character"),
        (r'{"\udfff": 1, "\ud800": 2}', "holds half a character"),
        ("[1, ", r"'.*f.json' is not whole JSON \(line 1, column 5: .*make the table again"),
    ],
)
def test_json_that_no_program_writes_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "f.json").write_text(text)
    with pytest.raises(InvalidInput, match=words):
        read_json(tmp_path / "f.json", "table")


def test_json_within_the_limits_is_read(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text('["\\ud83d\\ude00", ' + "9" * 308 + ", " + "[" * 60 + "]" * 60 + "]")
    assert read_json(tmp_path / "f.json", "table")[:2] == ["\U0001f600", 10**308 - 1]
    assert parse_json("[1.5]", "the text", "table") == [1.5]


def test_marks_of_byte_order_are_read_over_or_named(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(path, "table") == [1]
    for encoding, name in (("utf-16", "UTF-16"), ("utf-32", "UTF-32")):
        path.write_bytes("[1]".encode(encoding))
        with pytest.raises(InvalidInput, match=f"cannot read the table '.*f.json': .* in {name}; save it as UTF-8"):
            read_json(path, "table")
    path.write_bytes(b"[\xff]")
    with pytest.raises(InvalidInput, match=r"'utf-8' codec .* position 1: .*; save it as UTF-8, if it is text"):
        read_text(path, "table")


def test_toml_is_bounded_as_json_is(tmp_path: Path) -> None:
    path = tmp_path / "f.toml"
    for text, words in (
        ("a = " + "9" * 5000, "is no TOML that can be read"),
        ("a = " + "[" * 70 + "]" * 70, "nested more than 64 deep"),
        ("a = " + "[" * 5000 + "]" * 5000, "is no TOML"),
        ("a = ", "the request '.*f.toml' is no TOML: Invalid value"),
    ):
        path.write_text(text)
        with pytest.raises(InvalidInput, match=words):
            read_toml(path, "request")


@posix
def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, words in (
        (tmp_path, "it is a folder, name a file"),
        (tmp_path / "pipe", "it is a pipe that nothing writes to; start what writes first"),
        (Path("/dev/zero"), "it is a device, name a file"),
        (tmp_path / "nothing", "No such file"),
        (tmp_path / "a\0b", "a name cannot hold a null character"),
    ):
        with pytest.raises(InvalidInput, match=words):
            read_text(path, "table")
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(2**31)
    with pytest.raises(InvalidInput, match="it has 2,147,483,648 bytes, and no table has more than 1,073,741,824"):
        read_text(tmp_path / "huge", "table")


@posix
def test_pipe_that_something_writes_to_is_read_and_libraries_do_not_get_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # so that the writer need not wait
    writer = os.open(pipe, os.O_WRONLY)
    os.write(writer, b"[1")

    def finish() -> None:
        os.write(writer, b", 2]")
        os.close(writer)

    thread = threading.Thread(target=finish)
    thread.start()
    assert read_json(pipe, "table") == [1, 2]
    thread.join()
    os.close(reader)


def test_whatever_fails_in_reading_names_the_file() -> None:
    for error in (
        KeyError("a"),
        RecursionError("deep"),
        MemoryError(),
        NotImplementedError(),
        AttributeError("x" * 999),
    ):
        with (
            pytest.raises(InvalidInput, match=rf"^the table 'f' cannot be read \({type(error).__name__}") as got,
            readable("the table 'f'"),
        ):
            raise error
        assert got.value.__cause__ is error
        assert len(str(got.value)) < 500
    with pytest.raises(InvalidInput, match=r"^the table 'f' does not fit together: odd$"), readable("the table 'f'"):
        raise InvalidInput("odd")
    with pytest.raises(InvalidInput, match=r"^the table 'f', row 1: odd$"), readable("the table 'f'"):
        raise InvalidInput("the table 'f', row 1: odd")
    with pytest.raises(PackageMissing), readable("the table 'f'"):
        raise PackageMissing("torch")
    with pytest.raises(KeyboardInterrupt), readable("the table 'f'"):
        raise KeyboardInterrupt


@posix
def test_links_stay_and_modes_are_kept(tmp_path: Path) -> None:
    real, link, private = (tmp_path / name for name in ("real", "link", "private"))
    real.write_text("real")
    link.symlink_to(real)
    private.write_text("x")
    private.chmod(0o600)
    (tmp_path / "dangling").symlink_to(tmp_path / "new" / "target")
    for path in (link, private, tmp_path / "dangling"):
        write_text(path, "new")
        assert path.read_text() == "new"
    assert link.is_symlink()
    assert (tmp_path / "dangling").is_symlink()
    assert real.read_text() == "new"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new" / "target").stat().st_mode) == 0o666 & ~_umask()


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


@posix
def test_devices_and_pipes_are_written_to_as_they_are(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match=r"cannot write '.*pipe': it is a pipe that nothing reads; start what reads it"):
        write_text(pipe, "x")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_text(pipe, "through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    device = tmp_path / "device"
    device.symlink_to("/dev/null")
    write_text(device, "x")
    assert stat.S_ISCHR(device.stat().st_mode)
    assert device.is_symlink()
    with pytest.raises(OSError, match=r"cannot write '.*': it is a folder") as got:
        write_text(tmp_path, "x")
    assert got.value.errno == errno.EISDIR


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_full_device_is_named() -> None:
    with pytest.raises(OSError, match=r"cannot write '/dev/full': No space left on device") as got:
        write_text("/dev/full", "x")
    assert got.value.errno == errno.ENOSPC
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="there is no /dev/fd")
def test_standard_output_that_goes_into_a_file_is_not_replaced(tmp_path: Path) -> None:
    script = (
        "import sys; from mckp_quant.common.files import write_text as w; print(1, flush=True); w('/dev/stdout', '2')"
    )
    with open(tmp_path / "out", "w", encoding="utf-8") as out:
        subprocess.run([sys.executable, "-c", script], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "1\n2"


def test_full_disk_names_the_file_and_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.json"
    path.write_text("old")
    with pytest.raises(OSError, match=r"cannot write '.*table.json': No space left") as got, writing(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert got.value.errno == errno.ENOSPC
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match=r"cannot write '.*table.json': it is write-protected"):
        write_text(path, "new")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write '.*below': "):
        write_text(tmp_path / "file" / "below", "x")


def test_text_that_cannot_be_written_touches_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"cannot write '.*f': '\\ud800' holds half a character"):
        write_text(tmp_path / "f", "\ud800")
    assert not list(tmp_path.iterdir())


@posix
def test_what_killed_runs_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from mckp_quant.common.files import temporary_folder, writing\n"
        "with temporary_folder(sys.argv[1]) as folder, writing(sys.argv[1] + '/f') as file:\n"
        "    (folder / 'inner').write_text('x'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    left = {path.name for path in tmp_path.iterdir()}
    assert len(left) == 2
    (tmp_path / ".f.abc123").write_text("another program's")
    elsewhere = tmp_path / f".mckp-quant-00000000-1-{'0' * 16}.tmp"  # of another machine
    elsewhere.write_text("")
    with writing(tmp_path / "g"), temporary_folder(tmp_path):
        running = {path.name for path in tmp_path.iterdir()}
        write_text(tmp_path / "f", "new")
        assert running < {path.name for path in tmp_path.iterdir()}
    assert {path.name for path in tmp_path.iterdir()} == {"f", "g", ".f.abc123", elsewhere.name}
    os.utime(elsewhere, (0, 0))
    write_text(tmp_path / "f", "new")
    assert not elsewhere.exists()


@posix
def test_libraries_get_regular_files_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check_regular(tmp_path / "file", "graph")
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(tmp_path / "pipe", os.O_WRONLY)
    os.write(writer, b"x")
    thread = threading.Thread(target=os.close, args=(writer,))
    thread.start()
    with pytest.raises(InvalidInput, match=r"cannot read the graph '.*pipe': it is a pipe, name a file"):
        check_regular(tmp_path / "pipe", "graph")
    thread.join()
    os.close(reader)


@given(st.text())
def test_shown_text_is_printable_and_else_the_same(text: str) -> None:
    found = shown(text)
    assert found.isprintable()
    assert (found == text) == text.isprintable()


def test_escapes_and_marks_of_direction_are_shown_as_python_writes_them() -> None:
    assert shown("a\x1b[31m\u202egnp.\u2066\n") == r"a\x1b[31m\u202egnp.\u2066\n"
    assert shown("a\tb\nc", keep="\n") == "a\\tb\nc"
