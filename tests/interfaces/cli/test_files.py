import pytest

from orchestrator.errors import UserError
from orchestrator.interfaces.cli.files import replacing, write_file


def test_the_file_appears_when_the_block_ends(work):
    path = work / "out.jsonl"
    with replacing(path) as stream:
        stream.write("one\n")
        assert not path.exists()
    assert path.read_text() == "one\n"
    assert list(work.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_else(work):
    path = work / "out.jsonl"
    path.write_text("old\n")

    def fail():
        with replacing(path) as stream:
            stream.write("new\n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old\n"
    assert list(work.iterdir()) == [path]


def test_a_folder_that_does_not_exist_is_named(work):
    path = work / "absent/out.jsonl"
    with pytest.raises(UserError, match="there is no folder") as caught:
        write_file(path, "text")
    assert caught.value.hint == f"mkdir -p {path.parent}"


def test_a_folder_in_the_way_is_named(work):
    (work / "out").mkdir()
    with pytest.raises(UserError, match="cannot be written: Is a directory"):
        write_file(work / "out", "text")
    assert list((work / "out").iterdir()) == []
    assert [path.name for path in work.iterdir()] == ["out"]
