"""Packing user code: the same files are the same bytes, and nothing leads out of the archive."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import InvalidInput
from orchestrator.inspect import code as subject
from orchestrator.inspect.code import pack_folder, read_archive
from orchestrator.storage.code import unpack


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_py", ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def archive(
    *entries: tarfile.TarInfo | tuple[str, bytes], form: int = tarfile.USTAR_FORMAT
) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as packed:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                packed.addfile(entry)
                continue
            member = tarfile.TarInfo(entry[0])
            member.size = len(entry[1])
            packed.addfile(member, io.BytesIO(entry[1]))
    return stream.getvalue()


def special(kind: bytes, name: str = "a.py", target: str = "/etc/passwd") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def test_the_same_files_make_the_same_archive(tmp_path: Path) -> None:
    first = write(tmp_path / "a", train_py="1", pkg__inner_py="2")
    second = write(tmp_path / "b", pkg__inner_py="2", train_py="1")
    (second / "train.py").chmod(0o700)
    os.utime(second / "train.py", (1, 1))
    other = write(tmp_path / "c", train_py="1", pkg__inner_py="3")

    code = pack_folder(first)

    assert code.sha256 == pack_folder(second).sha256 == hashlib.sha256(code.archive).hexdigest()
    assert code.sha256 != pack_folder(other).sha256
    assert list(code.files) == ["pkg/inner.py", "train.py"]


def test_other_archives_of_the_same_files_have_the_same_digest(tmp_path: Path) -> None:
    code = pack_folder(write(tmp_path, train_py="1", pkg__inner_py="2"))
    folder = special(tarfile.DIRTYPE, "pkg", "")

    packed = archive(
        ("./train.py", b"1"), folder, ("pkg/inner.py", b"2"), ("pkg/__pycache__/x.pyc", b"")
    )

    assert read_archive(packed, "code.tar").sha256 == code.sha256
    assert read_archive(code.archive, "code.tar") == code


def test_what_is_no_code_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, train_py="1")
    for name in (".env", ".git/config", "old.pyc", "__pycache__/train.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("secret")

    assert list(pack_folder(tmp_path).files) == ["train.py"]


def test_unpacked_it_is_what_was_packed(tmp_path: Path) -> None:
    code = pack_folder(write(tmp_path / "pkg", train_py="1", pkg__inner_py="2"))
    there = write(tmp_path / "there", old_py="left of an earlier attempt")

    unpack(code, there)

    assert pack_folder(there).sha256 == code.sha256


def too_many(folder: Path) -> None:
    write(folder, a_py="1", b_py="2", c_py="3")


def too_large(folder: Path) -> None:
    write(folder, a_py="1" * 101)


def link_out(folder: Path) -> None:
    write(folder, a_py="1")
    (folder / "b.py").symlink_to("/etc/passwd")


def link_to_folder(folder: Path) -> None:
    write(folder, a_py="1")
    (folder / "b").symlink_to("/etc")


def pipe(folder: Path) -> None:
    write(folder, a_py="1")
    os.mkfifo(folder / "b.py")


def odd_name(folder: Path) -> None:
    write(folder, a_py="1")
    (folder / "b\n.py").write_text("1")


def long_name(folder: Path) -> None:
    write(folder, **{f"{'d' * 90}__{'e' * 90}__{'f' * 90}_py": "1"})


def nothing(folder: Path) -> None:
    folder.mkdir()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (too_many, "holds more than 0 MB or 2 files"),
        (too_large, "holds more than"),
        (link_out, "b.py is a link that leads out of the folder"),
        (link_to_folder, "b is a link to a folder"),
        (pipe, "b.py is no plain file"),
        (odd_name, "a name that is no plain text"),
        (long_name, "is too long"),
        (nothing, "holds no files"),
        (lambda folder: None, "there is no folder"),
    ],
)
def test_folders_that_are_refused(
    make: Callable[[Path], None], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "MAX_BYTES", 100)
    monkeypatch.setattr(subject, "MAX_FILES", 2)
    make(tmp_path / "pkg")

    with pytest.raises(InvalidInput, match=told) as caught:
        pack_folder(tmp_path / "pkg")

    assert {problem.path for problem in caught.value.problems} == {"runtime.code"}


def test_a_link_within_the_folder_is_the_file_it_leads_to(tmp_path: Path) -> None:
    write(tmp_path, a_py="1")
    (tmp_path / "b.py").symlink_to("a.py")

    assert pack_folder(tmp_path).files["b.py"] == b"1"


def damaged(data: bytes) -> bytes:
    return data[:100] + b"9" + data[101:]


ARCHIVES = {
    "up": (archive(("../a.py", b"1")), "leads out of it"),
    "up again": (archive(("pkg/../../a.py", b"1")), "leads out of it"),
    "absolute": (archive(("/etc/a.py", b"1")), "leads out of it"),
    "backslashes": (archive(("..\\a.py", b"1")), "leads out of it"),
    "two spellings": (archive(("pkg//a.py", b"1")), "leads out of it"),
    "twice": (archive(("a.py", b"1"), ("./a.py", b"2")), "holds a.py twice"),
    "a file as a folder": (archive(("a", b"1"), ("a/b.py", b"2")), "as a file and as a folder"),
    "a link": (archive(special(tarfile.SYMTYPE)), "no archive of plain files"),
    "a hard link": (archive(special(tarfile.LNKTYPE)), "no archive of plain files"),
    "a device": (archive(special(tarfile.CHRTYPE)), "no archive of plain files"),
    "a pipe": (archive(special(tarfile.FIFOTYPE)), "no archive of plain files"),
    "extended headers": (
        archive(("ä" * 200, b"1"), form=tarfile.PAX_FORMAT),
        "no archive of plain files",
    ),
    "GNU's long names": (
        archive(("a" * 200, b"1"), form=tarfile.GNU_FORMAT),
        "no archive of plain files",
    ),
    "a check sum": (damaged(archive(("a.py", b"1"))), "no archive of plain files"),
    "cut off": (archive(("a.py", b"1" * 2000))[:1024], "no archive of plain files"),
    "something else": (b"PK\x03\x04" + bytes(1000), "no archive of plain files"),
    "empty": (archive(), "holds no files"),
    "nothing": (b"", "no archive of plain files"),
    "too many": (archive(*((f"{n}.py", b"") for n in range(2001))), "or 2000 files"),
    "too large": (archive(("a.py", bytes(20_000_001))), "more than 20 MB"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives_that_are_refused(name: str) -> None:
    data, told = ARCHIVES[name]

    with pytest.raises(InvalidInput, match=told):
        read_archive(data, "code.tar")


def test_a_size_that_lies_is_refused() -> None:
    """A header that promises more than there is, up to what a number of octal digits can say."""
    data = bytearray(archive(("a.py", b"1")))
    data[124:136] = b"77777777777\0"
    header = bytes(data[:148]) + b" " * 8 + bytes(data[156:512])
    data[148:156] = b"%06o\0 " % sum(header)

    with pytest.raises(InvalidInput, match="no archive of plain files"):
        read_archive(bytes(data), "code.tar")


@given(place=st.integers(0, 3 * 512 - 1), bytes_there=st.binary(min_size=1, max_size=40))
def test_whatever_an_archive_says_its_files_are_below_it(place: int, bytes_there: bytes) -> None:
    """Damage anywhere: it is refused, or holds plain names, and never anything else."""
    whole = archive(("pkg/train.py", b"print(1)\n"), ("b.py", b"2"))
    data = whole[:place] + bytes_there + whole[place + len(bytes_there) :]
    header = data[:148] + b" " * 8 + data[156:512]
    data = data[:148] + b"%06o\0 " % sum(header) + data[156:]  # so that more than the sum is read

    try:
        code = read_archive(data, "code.tar")
    except InvalidInput:
        return

    for path in code.files:
        parts = PurePosixPath(path).parts
        assert not PurePosixPath(path).is_absolute()
        assert ".." not in parts
        assert path == "/".join(parts)
