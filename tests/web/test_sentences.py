"""Every code that the program can answer has a sentence in both languages, and it shows wherever people read."""

import ast
import gettext
import re
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

import fablab
from fablab.sentences import DOMAIN, FOLDER, Refusal, has_sentence, sentence
from tests.web.conftest import Lab

PACKAGE = Path(fablab.__file__).parent
RAISING = {"Refusal", "Reason", "BadBrokerUrl", "Rejected"}
NOTING = {"note": 2, "tell": 3}
"""Verbs that take a code, and at which place."""


def codes_in_source() -> set[str]:
    """Codes that are written out in the package: in refusals, reasons, incidents and notices."""
    found = set()
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            place = 0 if name in RAISING else NOTING.get(name)
            if place is None or len(node.args) <= place:
                continue
            found |= words(node.args[place])
    return found


def words(node: ast.expr) -> set[str]:
    if isinstance(node, ast.IfExp):
        return words(node.body) | words(node.orelse)
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"[a-z][a-z0-9_]+", node.value):
        return {node.value}
    return set()


def catalogue(language: str) -> dict[str, str]:
    found = gettext.translation(DOMAIN, localedir=FOLDER, languages=[language])
    return {code: text for code, text in found._catalog.items() if code}  # type: ignore[attr-defined]


def test_every_code_of_the_source_has_a_sentence_in_both_languages() -> None:
    codes = codes_in_source()
    assert len(codes) > 150
    missing = {code for code in codes for language in ("fr", "en") if not has_sentence(code, language)}
    assert not missing


def test_both_catalogues_have_the_same_codes_and_no_sentence_is_equal() -> None:
    french, english = catalogue("fr"), catalogue("en")
    assert set(french) == set(english)
    assert not [code for code in french if french[code] == english[code]]


def test_both_sentences_name_the_same_data() -> None:
    french, english = catalogue("fr"), catalogue("en")

    def names(text: str) -> set[str]:
        return set(re.findall(r"{([a-z_]+)}", text))

    assert not {code for code in french if names(french[code]) - names(english[code])}


@pytest.mark.parametrize("language", ["fr", "en"])
def test_each_sentence_is_whole_whatever_the_data(language: str) -> None:
    for code in catalogue(language):
        text = sentence(code, language)
        assert text and "{" not in text, code
        assert text[0].isupper() or not text[0].isalpha() or text[0] == "?", (code, text)


def test_each_code_on_page_and_json(lab: Lab) -> None:
    """Each code as a page for people and as JSON for programs."""
    from fablab.web.errors import refused

    for language in ("fr", "en"):
        for code in codes_in_source():
            expected = sentence(code, language)
            headers = {"Accept-Language": language}
            with lab.app.test_request_context("/", headers=headers):
                page = refused(Refusal(code)).get_data(as_text=True)
            with lab.app.test_request_context("/api/v1/x", headers=headers):
                answer = refused(Refusal(code))
            assert unescape(expected) in unescape(page), code
            assert answer.json is not None and answer.json["text"] == expected


def unescape(text: str) -> str:
    from html import unescape as plain

    return " ".join(plain(text).split())


@pytest.mark.parametrize(("locale", "start"), [("fr_FR.UTF-8", "Il n'y a pas de"), ("C.UTF-8", "There is no")])
def test_the_command_line_says_it_in_the_terminals_language(
    locale: str, start: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from fablab import cli

    monkeypatch.setenv("LC_ALL", locale)
    monkeypatch.setattr("sys.argv", ["fablab", "ledger", "verify", "--config", str(tmp_path / "none.toml")])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"fablab: {start}") and error.count("\n") == 1


def test_money_hours_and_weights_are_written_as_people_write_them() -> None:
    assert "12,50\xa0€" in sentence("more_than_owed", "fr", amount_cents=1250, owed_cents=100)
    assert "€12.50" in sentence("more_than_owed", "en", amount_cents=1250, owed_cents=100)
    assert "30\xa0s" in sentence("sign_in_later", "fr", seconds=30)
    assert sentence("nothing_like_this", "en").count("nothing_like_this") == 1


@pytest.mark.parametrize("domain", ["messages", DOMAIN])
@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_compiled_catalogue_is_that_of_its_source(domain: str, language: str) -> None:
    folder = FOLDER / language / "LC_MESSAGES"
    with (folder / f"{domain}.po").open("rb") as file:
        source = {str(message.id): message.string for message in read_po(file) if message.id and message.string}
    compiled = gettext.translation(domain, localedir=FOLDER, languages=[language])
    assert {code: text for code, text in compiled._catalog.items() if code} == source  # type: ignore[attr-defined]


def test_every_text_of_the_pages_is_in_the_french_catalogue() -> None:
    french = gettext.translation("messages", localedir=FOLDER, languages=["fr"])
    known = french._catalog  # type: ignore[attr-defined]
    methods = [("**.py", "python"), ("**.html", "jinja2")]
    found = extract_from_dir(PACKAGE / "web", methods, keywords={"gettext": None, "_": None})
    missing = {text for _, _, text, _, _ in found if isinstance(text, str) and text not in known}
    assert not missing
