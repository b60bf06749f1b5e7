import pytest

from orchestrator.errors import UserError
from orchestrator.interfaces.cli.files import replacing, write_file


def test_the_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "out.jsonl"
    with replacing(path) as stream:
        stream.write("one\n")
        assert not path.exists()
    assert path.read_text() == "one\n"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("old\n")
    with pytest.raises(RuntimeError), replacing(path) as stream:
        stream.write("new\n")
        raise RuntimeError
    assert path.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    path = tmp_path / "absent/out.jsonl"
    with pytest.raises(UserError, match="there is no folder") as caught:
        write_file(path, "text")
    assert caught.value.hint == f"mkdir -p {path.parent}"


def test_a_folder_in_the_way_is_named(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="cannot be written: Is a directory"):
        write_file(tmp_path / "out", "text")
    assert list((tmp_path / "out").iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
