import pytest

from orchestrator.errors import UserError
from orchestrator.interfaces.cli import discovery


@pytest.fixture
def touch(tmp_path):
    def make(*paths):
        for path in paths:
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        return tmp_path

    return make


def relative(found, root):
    return {
        domain: {split: str(path.relative_to(root)) for split, path in splits.items()}
        for domain, splits in found.items()
    }


def test_each_folder_with_a_split_is_a_domain(touch):
    root = touch(
        "movie/test.csv",
        "camera/train.jsonl",
        "camera/valid.jsonl",
        "camera/test.jsonl",
        "camera/README.md",
        "notes/todo.txt",
        ".cache/train.jsonl",
    )
    assert relative(discovery.domains_below(root), root) == {
        "camera": {
            "train": "camera/train.jsonl",
            "valid": "camera/valid.jsonl",
            "test": "camera/test.jsonl",
        },
        "movie": {"test": "movie/test.csv"},
    }


@pytest.mark.parametrize("name", ["validation", "val", "dev", "Valid"])
def test_other_names_of_the_validation_split_are_known(touch, name):
    root = touch(f"camera/{name}.parquet")
    assert relative(discovery.domains_below(root), root) == {
        "camera": {"valid": f"camera/{name}.parquet"}
    }


def test_a_folder_with_splits_is_one_domain(touch):
    root = touch("Dvd Player/train.jsonl")
    found = discovery.domains_below(root / "Dvd Player")
    assert relative(found, root) == {"dvd-player": {"train": "Dvd Player/train.jsonl"}}


def test_a_domain_can_be_named(touch):
    root = touch("somewhere/train.csv", "somewhere/test.csv")
    name, splits = discovery.named_domain(f"camera={root / 'somewhere'}")
    assert (name, list(splits)) == ("camera", ["train", "test"])


@pytest.mark.parametrize(
    ("files", "folder", "message"),
    [
        ([], "absent", "does not exist"),
        (["file"], "file", "is a file, not a folder"),
        (["camera/data.txt"], ".", "no domains were found"),
        (["a/train.csv", "a/train.jsonl"], ".", "the train split twice: train.csv and train.jsonl"),
        (["a/val.csv", "a/dev.csv"], ".", "the valid split twice: dev.csv and val.csv"),
        (["Überkamera/train.csv"], ".", "cannot name a domain"),
    ],
)
def test_what_cannot_be_read_is_refused(touch, files, folder, message):
    root = touch(*files)
    with pytest.raises(UserError, match=message) as caught:
        discovery.domains_below(root / folder)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["camera", "camera="])
def test_a_named_domain_needs_both_halves(text):
    with pytest.raises(UserError, match="write a name and a folder"):
        discovery.named_domain(text)


def test_a_named_domain_needs_splits(touch):
    root = touch("empty/notes.txt")
    with pytest.raises(UserError, match="no splits were found there"):
        discovery.named_domain(f"camera={root / 'empty'}")
