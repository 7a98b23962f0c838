import os
from pathlib import Path

import pytest

from aigrid.core.errors import DataError, NotFoundError
from aigrid.factory.documents import Corpus, Document, check_enough, split
from aigrid.factory.files import cut_at_blank_lines, read_files, visible_text
from aigrid.factory.progress import SilentProgress
from aigrid.factory.pydocs import first_paragraph, python_docs

LIMIT = 1_000_000


def read(path: Path, limit: int = LIMIT) -> Corpus:
    return read_files(path, SilentProgress(), limit)


def texts(corpus: Corpus) -> dict[str, str]:
    return {d.name: d.text for d in corpus.documents}


def test_text_of_many_kinds_is_read_in_order_and_the_rest_is_counted(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# Ships\n\nA ship floats on water.")
    (tmp_path / "a.json").write_text('{"k": "väl"}', encoding="utf-8")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "noname").write_text("no suffix, still text")
    (tmp_path / "p.html").write_text("<h1>T</h1><script>x()</script><p>One &amp; two</p>")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\x00\x01")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "empty.txt").write_text("  \n")
    corpus = read(tmp_path)
    names = [d.name for d in corpus.documents]
    assert [n.split("#")[0] for n in names] == ["a.json", "b.md", "p.html", "deep/noname"]
    assert texts(corpus)["p.html#00000"] == "T\n\nOne & two"
    assert dict(corpus.left_out) == {"binary": 2, "empty": 1}


def test_a_markdown_part_answers_for_its_title(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# Ships\n\nA ship floats on water, says the book.")
    (exchange,) = read(tmp_path).documents[0].exchanges
    assert exchange.question == "Tell me about Ships."
    assert exchange.answer == "A ship floats on water, says the book."


def test_links_in_a_loop_and_twice_to_a_file_are_taken_once(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("hello there")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "same.txt").symlink_to(tmp_path / "real.txt")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    corpus = read(tmp_path)
    assert len(corpus.documents) == 1
    assert dict(corpus.left_out) == {"linked twice": 1, "not a plain file": 2}


def test_digest_depends_on_content_and_not_on_the_place(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text("same words")
    first, second = read(tmp_path / "one"), read(tmp_path / "two")
    assert first.digest() == second.digest()
    (tmp_path / "two" / "a.txt").write_text("other words")
    assert read(tmp_path / "two").digest() != first.digest()


@pytest.mark.parametrize("kind", ["empty", "binary", "little"])
def test_nothing_usable_is_refused_with_what_was_left_out(tmp_path: Path, kind: str) -> None:
    if kind == "binary":
        (tmp_path / "x.bin").write_bytes(bytes(range(256)) * 100)
    if kind == "little":
        (tmp_path / "x.txt").write_text("Too little.")
    with pytest.raises(DataError) as caught:
        check_enough(read(tmp_path))
    assert str(tmp_path) in str(caught.value)
    assert "--" not in caught.value.message
    assert "UTF-8 text" in caught.value.next_step
    assert ("1 binary" in str(caught.value)) == (kind == "binary")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        read(tmp_path / "nowhere")


def test_the_size_limit_cuts_between_characters_and_counts_the_rest(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("é" * 100, encoding="utf-8")
    (tmp_path / "b.txt").write_text("more")
    for limit in (50, 51):
        corpus = read(tmp_path, limit)
        assert corpus.documents[0].text == "é" * 25
    assert dict(corpus.left_out)["cut at the size limit"] >= 1


def test_a_single_file_becomes_parts_no_longer_than_asked(tmp_path: Path) -> None:
    text = "\n\n".join(f"Paragraph {n}. " + "word " * 80 for n in range(60))
    (tmp_path / "book.txt").write_text(text + "\n\n" + "x" * 30_000)
    corpus = read(tmp_path / "book.txt")
    assert len(corpus.documents) > 5
    assert max(len(d.text.encode()) for d in corpus.documents) <= 8_000
    assert "".join("".join(d.text for d in corpus.documents).split()) == "".join(
        (text + "x" * 30_000).split()
    )
    (tmp_path / "page.txt").write_text("\n\n".join(f"Line {n} of a page." * 9 for n in range(15)))
    assert len(check_enough(read(tmp_path / "page.txt")).documents) >= 2
    assert cut_at_blank_lines("a\n\nb", 100) == ["a\n\nb"]


def test_html_loses_markup_and_scripts_only() -> None:
    assert visible_text("<p>a</p><style>b{}</style><p>c<br>d") == "a\n\nc\nd"


def test_split_holds_out_whole_groups_and_repeats() -> None:
    documents = [Document(f"{g}#{n}", "text " * 20, group=str(g)) for g in range(40) for n in "ab"]
    learn, held = split(documents, 0.1, seed=3)
    assert (learn, held) == split(list(reversed(documents)), 0.1, seed=3)
    assert {d.unit for d in learn}.isdisjoint(d.unit for d in held)
    assert len(held) == 8
    assert split(documents, 0.1, seed=4)[1] != held


def test_standard_library_docs_come_from_sources_without_importing(tmp_path: Path) -> None:
    (tmp_path / "pydoc_data").mkdir()
    told = "It is used for conditional execution."
    topics = {"if": f'The "if" statement\n****\n\n{told}'}
    (tmp_path / "pydoc_data" / "topics.py").write_text(f"topics = {topics!r}")
    (tmp_path / "posixpath.py").write_text(
        'raise RuntimeError("imported")\n'
        'def join(a, *p):\n    """Join path components with a slash.\n\n    More.\n    """\n'
    )
    (tmp_path / "broken.py").write_text("def (")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "t.py").write_text('"""A test module that nobody reads."""')
    corpus = python_docs(SilentProgress(), LIMIT, library=tmp_path)
    assert [d.name for d in corpus.documents] == ["os.path", "topic if"]
    join, topic = corpus.documents
    assert join.text == "os.path.join(a, *p)\n\nJoin path components with a slash.\n\nMore."
    assert join.exchanges[0].question == "What does `os.path.join` do?"
    assert join.exchanges[0].answer == "Join path components with a slash."
    assert topic.exchanges[0].answer == told


def test_a_python_without_sources_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no sources of the Python standard library"):
        python_docs(SilentProgress(), LIMIT, library=tmp_path)


def test_a_very_long_paragraph_ends_at_a_sentence() -> None:
    assert first_paragraph("Short one. " * 200).endswith("one.")
    assert first_paragraph("****\n\nThe first real paragraph\nis here.") == (
        "The first real paragraph is here."
    )
