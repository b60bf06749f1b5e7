"""User code in a store: by its digest, once, and never other bytes than those."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import IntegrityError
from orchestrator.inspect.code import Code, pack_folder
from orchestrator.storage.code import CodeStore
from orchestrator.storage.objectstore import ObjectStore


@pytest.fixture
def code(tmp_path: Path) -> Code:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "train.py").write_text("print(1)\n")
    return pack_folder(tmp_path / "pkg")


def test_it_comes_back_as_it_was(store: ObjectStore, code: Code) -> None:
    CodeStore(store).put(code)
    CodeStore(store).put(code)

    assert CodeStore(store).get(code.sha256) == code
    assert [info.key for info in store.list(".code")] == [f".code/{code.sha256}.tar"]


def test_half_an_archive_is_put_again(store: ObjectStore, code: Code) -> None:
    store.put_bytes(f".code/{code.sha256}.tar", code.archive[:100])

    CodeStore(store).put(code)

    assert CodeStore(store).get(code.sha256) == code


def test_what_was_changed_is_not_given_out(store: ObjectStore, code: Code) -> None:
    with pytest.raises(IntegrityError, match=r"\.tar is gone"):
        CodeStore(store).get(code.sha256)
    other = code.archive.replace(b"print(1)", b"print(2)")
    store.put_bytes(f".code/{code.sha256}.tar", other)

    with pytest.raises(IntegrityError, match="is damaged: its sha256 is"):
        CodeStore(store).get(code.sha256)
