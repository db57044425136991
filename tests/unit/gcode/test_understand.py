"""Files as a whole: sliced parts, hand-written modes, the index beside the measure, and every kind of bad input."""

import contextlib
import gzip
import random
import re
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fablab.gcode.facts import Facts, Limits, understand
from fablab.gcode.formats import unpack
from fablab.gcode.index import IndexedFile, IndexStale
from fablab.refusals import Refusal

FIXTURES = Path(__file__).parents[2] / "fixtures" / "gcode"
SLICED = ("cube-pla-mk3", "cube-petg-mk3", "cube-pla-mini", "tiny-pla-mk3")
PURGE_MM = {"cube-pla-mk3": 21.5, "cube-petg-mk3": 21.5, "cube-pla-mini": 8.0, "tiny-pla-mk3": 0.0}


def facts_of(folder: Path, text: str | bytes, limits: Limits | None = None) -> Facts:
    path = folder / "file.gcode"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return understand(path, limits or Limits())


def code_of(folder: Path, text: str | bytes, limits: Limits | None = None) -> str:
    with pytest.raises(Refusal) as refusal:
        facts_of(folder, text, limits)
    return refusal.value.code


# ---------------------------------------------------------------- sliced parts


@pytest.mark.parametrize("name", SLICED)
def test_measured_agrees_with_the_slicer(name: str) -> None:
    facts = understand(FIXTURES / f"{name}.gcode", Limits())
    assert facts.slicer == "PrusaSlicer"
    assert facts.comments.time_s == pytest.approx(facts.measured.time_s, rel=0.10)
    assert facts.comments.filament_mm is not None
    expected = facts.comments.filament_mm + PURGE_MM[name]  # the slicer does not count its own start code
    assert facts.measured.filament_mm == pytest.approx((expected,), abs=0.02)
    assert facts.hazards == ()


def test_facts_of_a_cube() -> None:
    facts = understand(FIXTURES / "cube-pla-mk3.gcode", Limits())
    assert (facts.printer_model, facts.material, facts.nozzle_mm) == ("MK3S", "PLA", 0.4)
    assert facts.dialect == "marlin"
    assert (facts.first_layer_c, facts.first_layer_bed_c, facts.layer_height_mm) == (215, 60, 0.2)
    assert facts.measured.layers == 50
    assert facts.measured.max_temperatures == {"bed": 60.0, "tool0": 215.0}
    assert facts.measured.bbox_mm is not None
    assert facts.measured.bbox_mm[1][2] == 10.0
    assert understand(FIXTURES / "cube-pla-mini.gcode", Limits()).printer_model == "MINI120"
    assert understand(FIXTURES / "cube-petg-mk3.gcode", Limits()).material == "PETG"


def test_a_file_for_a_larger_machine_is_refused_on_a_small_one() -> None:
    small = Limits(volume_mm=((0, 0, 0), (120, 120, 120)))
    reasons = {h.reason for h in understand(FIXTURES / "cube-pla-mk3.gcode", small).hazards}
    assert reasons == {"outside_volume"}
    assert understand(FIXTURES / "cube-pla-mini.gcode", small).hazards == ()


# ---------------------------------------------------------------- the index


@pytest.mark.parametrize("name", SLICED)
def test_the_index_serves_every_line_and_agrees_with_the_measure(name: str, tmp_path: Path) -> None:
    path = FIXTURES / f"{name}.gcode"
    facts = understand(path, Limits(), tmp_path / "index")
    with IndexedFile(path, tmp_path / "index") as indexed:
        lines = list(indexed.lines())
        assert indexed.total == facts.lines == len(lines)
        assert indexed.filament_mm == facts.measured.filament_mm == lines[-1].mm
        assert [line.number for line in lines] == list(range(1, len(lines) + 1))
        raw = path.read_bytes().splitlines(keepends=True)
        for line in random.Random(3).sample(lines, 40):
            assert raw[line.file_line - 1].split(b";")[0].strip() == line.text
            place = indexed.at(line.number)
            assert (place.file_line, place.layer, place.mm) == (line.file_line, line.layer, line.mm)
            assert place.offset == sum(map(len, raw[: line.file_line - 1]))
            assert line.end == place.offset + len(raw[line.file_line - 1])
        assert list(indexed.lines(1000 % len(lines))) == lines[1000 % len(lines) :]
        assert lines[-1].layer == facts.measured.layers
        assert lines[-1].seconds == pytest.approx(facts.measured.time_s, rel=1e-5)
        assert [line.mm for line in lines] == sorted(line.mm for line in lines)


def test_the_index_spans_blocks(tmp_path: Path) -> None:
    path = tmp_path / "long.gcode"
    path.write_text("G28\nM83\n" + "".join(f"G1 X{n % 100} Y{n % 7} E.01\n; note {n}\n" for n in range(60_000)))
    facts = understand(path, Limits(), tmp_path / "index")
    with IndexedFile(path, tmp_path / "index") as indexed:
        assert len(indexed.footer.blocks) > 1
        assert indexed.at(60_002).mm == facts.measured.filament_mm == pytest.approx((600.0,))
        (last,) = indexed.lines(60_001)
        assert last.text == b"G1 X99 Y2 E.01"
        with pytest.raises(IndexError):
            indexed.at(60_003)


def test_an_index_of_another_file_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "a.gcode"
    path.write_text("G28\nG1 X1\n")
    understand(path, Limits(), tmp_path / "index")
    path.write_text("G28\nG1 X1\nG1 X2\n")
    with pytest.raises(IndexStale):
        IndexedFile(path, tmp_path / "index")
    (tmp_path / "index").write_bytes(b"nothing")
    with pytest.raises(IndexStale):
        IndexedFile(path, tmp_path / "index")


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("E"), st.floats(-5, 5).map(lambda e: round(e, 3))),
        st.tuples(st.just("T"), st.integers(0, 3)),
        st.tuples(st.just("G92"), st.just(0)),
        st.tuples(st.sampled_from(["M82", "M83", "G90", "M107", "; note", ""]), st.just(0)),
    ),
    max_size=60,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(MOVES)
def test_filament_is_the_furthest_net_extrusion_in_measure_and_index(
    tmp_path: Path, moves: list[tuple[str, float]]
) -> None:
    lines, relative, e, tool = ["G28"], False, 0.0, 0
    net, used = dict.fromkeys(range(4), 0.0), dict.fromkeys(range(4), 0.0)
    highest = 0
    for kind, value in moves:
        lines.append({"E": f"G1 X1 E{value:.3f}", "T": f"T{value}", "G92": "G92 E0"}.get(kind, kind))
        if kind == "E":
            net[tool] += value if relative else value - e
            e = value
            used[tool] = max(used[tool], net[tool])
        elif kind == "T":
            tool, highest = int(value), max(highest, int(value))
        elif kind == "G92":
            e = 0.0
        elif kind in ("M82", "M83"):
            relative = kind == "M83"
    path = tmp_path / "moves.gcode"
    path.write_text("\n".join(lines) + "\n")
    measured = understand(path, Limits(), tmp_path / "index").measured.filament_mm
    assert measured == pytest.approx(tuple(used[n] for n in range(highest + 1)), abs=1e-9)
    with IndexedFile(path, tmp_path / "index") as indexed:
        assert indexed.filament_mm == measured
        assert [line.mm for line in indexed.lines()][-1] == measured
        assert [line.text.decode() for line in indexed.lines()] == [x for x in lines if x and x[0] != ";"]


# ---------------------------------------------------------------- modes


@pytest.mark.parametrize(
    ("text", "mm"),
    [
        ("M83\nG1 X1 E5\nG1 E-2\nG1 E2\nG1 X2 E1\nG1 E-4\n", 6.0),  # retraction cancels, unloading takes nothing back
        ("M82\nG1 X1 E5\nG92 E0\nG1 X2 E5\n", 10.0),
        ("G20\nM83\nG1 X1 E1\n", 25.4),
        ("M83\nM221 S200\nG1 X1 E1\n", 2.0),
        ("M83\nM200 D1.75\nG1 X1 E2.40528\n", 1.0),  # volumetric: 2.405 mm³ are a millimetre of 1.75 mm filament
        ("M83\nG10\nG11\nG1 X1 E1\n", 1.0),  # firmware retraction
        ("m083\ng1x1e1\nG01 X2 E1.5 ; y\n", 2.5),
        ("M83\nG91\nG1 X1 E1\nG90\nG1 X5 E1\n", 2.0),
    ],
)
def test_filament_in_every_mode(tmp_path: Path, text: str, mm: float) -> None:
    assert facts_of(tmp_path, "G28\n" + text).measured.filament_mm == pytest.approx((mm,), rel=1e-5)


def test_g90_moves_the_extruder_where_the_profile_says_so(tmp_path: Path) -> None:
    text = "G28\nM83\nG1 X1 E5\nG90\nG1 X2 E6\n"
    assert facts_of(tmp_path, text).measured.filament_mm == (11.0,)
    assert facts_of(tmp_path, text, Limits(g90_sets_e=True)).measured.filament_mm == (6.0,)


def test_an_arc_reaches_further_than_its_ends(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, "G28\nM83\nG1 X10 Y10 F600\nG3 X10 Y20 I0 J5 E1\n")
    assert facts.measured.bbox_mm is not None
    assert facts.measured.bbox_mm[1][0] == pytest.approx(15.0)
    assert facts.measured.time_s == pytest.approx((200**0.5 + 5 * 3.14159) / 10, rel=0.05)


def test_relative_moves_and_shifted_origin(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, "G28\nM83\nG91\nG1 X10\nG1 X10 E1\nG90\nG92 X0\nG1 X5 E1\n")
    assert facts.measured.bbox_mm == ((10.0, 0.0, 0.0), (25.0, 0.0, 0.0))
    assert [hazard.reason for hazard in facts.hazards] == ["shifts_position"]


def test_what_happens_before_homing_does_not_count_for_the_box(tmp_path: Path) -> None:
    limits = Limits(volume_mm=((0, 0, 0), (100, 100, 100)))
    assert facts_of(tmp_path, "G1 X500\nG28\nG1 X10 E1\n", limits).hazards == ()
    (hazard,) = facts_of(tmp_path, "G28\nG1 X10 E1\nG1 X120\n", limits).hazards
    assert (hazard.line, hazard.reason, hazard.data) == (3, "outside_volume", {"axis": "X", "mm": 120.0})


def test_layers_without_marks_come_from_heights(tmp_path: Path) -> None:
    text = "G28\nM83\n" + "".join(
        f"G1 Z{n / 5}\nG1 X1 E1\nG1 Z{n / 5 + 1}\nG1 X9\nG1 Z{n / 5}\nG1 X0 E1\n" for n in range(1, 8)
    )
    assert facts_of(tmp_path, text).measured.layers == 7


def test_temperatures_are_the_highest_asked_for(tmp_path: Path) -> None:
    text = "M104 S200\nT1\nM109 R230\nM104 T0 S210\nM140 S60\nM190 S55\nM141 S40\nM104 S0\nG28\n"
    assert facts_of(tmp_path, text).measured.max_temperatures == {
        "bed": 60.0,
        "chamber": 40.0,
        "tool0": 210.0,
        "tool1": 230.0,
    }


def test_a_wait_for_a_person_is_flagged_and_the_lines_stay(tmp_path: Path) -> None:
    path = tmp_path / "pause.gcode"
    path.write_text("G28\nG1 X1\nM0 change\nG1 X2\n")
    understand(path, Limits(), tmp_path / "index")
    with IndexedFile(path, tmp_path / "index") as indexed:
        assert [line.pause for line in indexed.lines()] == [False, False, True, False]


def test_motors_off_in_the_middle(tmp_path: Path) -> None:
    (hazard,) = facts_of(tmp_path, "G28\nM83\nG1 X1 E1\nM84\nG1 X2 E1\n").hazards
    assert (hazard.line, hazard.reason) == (4, "position_lost")
    assert facts_of(tmp_path, "G28\nM83\nG1 X1 E1\nM84\n").hazards == ()


def test_line_ends_and_marks_of_windows_change_nothing_but_places(tmp_path: Path) -> None:
    plain = (FIXTURES / "cube-pla-mk3.gcode").read_bytes()
    path = tmp_path / "windows.gcode"
    path.write_bytes(b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n"))
    facts = understand(path, Limits(), tmp_path / "index")
    assert facts.measured == understand(FIXTURES / "cube-pla-mk3.gcode", Limits()).measured
    assert facts.slicer == "PrusaSlicer"
    assert facts.hazards == ()
    with IndexedFile(path, tmp_path / "index") as indexed:
        assert next(indexed.lines()).text == b"M201 X1000 Y1000 Z200 E5000"
        assert next(indexed.lines(1936)).text == b"M84"


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "gcode_empty"),
        (b"\n\n; nothing\n", "gcode_no_commands"),
        (b"GCDE\x01\x00\x00\x00\x01\x00", "gcode_binary"),
        (b"solid cube\nfacet normal 0 0 1\n", "gcode_is_model"),
        (b"x" * 80 + (2).to_bytes(4, "little") + bytes(100), "gcode_is_model"),
        (b"\xff\xfeG\x001\x00", "gcode_not_text"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not_gcode"),
        (b"Dear all,\nthis is a letter about printing.\nYours\n", "not_gcode"),
        (b"<html>\n<body>\n</html>\n", "not_gcode"),
        (b'{"name": 1}\n', "not_gcode"),
        (b"x = 1\nprint(x)\n", "not_gcode"),
        (bytes(range(256)) * 20, "not_gcode"),
        (b"G28\nG1 X1\n" + bytes(4096), "gcode_nul_bytes"),
        (b"G28\nG1 X1\n" + bytes(3 << 20), "gcode_nul_bytes"),
        (b"G1 X1 " + b"A" * (3 << 20), "not_gcode"),
        (b"G28\nG1 X10 Y", "gcode_truncated"),
    ],
)
def test_other_things_are_named(tmp_path: Path, content: bytes, code: str) -> None:
    assert code_of(tmp_path, content) == code


def test_archives_are_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.3mf", "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
    assert code_of(tmp_path, (tmp_path / "a.3mf").read_bytes()) == "gcode_is_3mf"
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("cube.gcode", "G28\n")
    assert code_of(tmp_path, (tmp_path / "a.zip").read_bytes()) == "gcode_is_archive"


def test_a_file_over_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "large.gcode"
    with path.open("wb") as file:
        file.truncate(500_000_000)
    with pytest.raises(Refusal) as refusal:
        understand(path, Limits())
    assert refusal.value.code == "file_too_large"
    assert refusal.value.data["size_mb"] == 500.0


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_a_sliced_file_that_was_cut(tmp_path: Path, share: float) -> None:
    whole = (FIXTURES / "cube-pla-mk3.gcode").read_bytes()
    assert code_of(tmp_path, whole[: int(len(whole) * share)]) == "gcode_truncated"


def test_a_cut_cura_file(tmp_path: Path) -> None:
    head = ";FLAVOR:Marlin\n;TIME:600\n;Filament used: 0.5m\n;Generated with Cura_SteamEngine 5.6.0\n"
    head += "M82\nG28\n;LAYER_COUNT:3\n"
    layers = [f";LAYER:{n}\nG1 X{n} E{n + 1}\n" for n in range(3)]
    facts = facts_of(tmp_path, head + "".join(layers))
    assert (facts.slicer, facts.comments.time_s, facts.comments.filament_mm) == ("Cura", 600.0, 500.0)
    assert facts.measured.layers == 3
    assert code_of(tmp_path, head + layers[0]) == "gcode_truncated"


def test_hand_written_code_needs_no_last_line_end(tmp_path: Path) -> None:
    assert facts_of(tmp_path, "G28\nG1 X10").hazards == ()
    (hazard,) = facts_of(tmp_path, "G28\nG1 X10 E1").hazards
    assert (hazard.reason, hazard.severity) == ("no_last_newline", "confirm")


def test_comments_in_another_encoding_are_only_noted(tmp_path: Path) -> None:
    (hazard,) = facts_of(tmp_path, b"G28\nG1 X1 ; pi\xe8ce\n").hazards
    assert (hazard.line, hazard.reason, hazard.severity) == (2, "not_utf8", "warn")


def test_a_lone_carriage_return_hides_no_line_even_in_a_comment(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, b"G28\nG1 X1\n; note\rM502\nG1 X2 Y2 ; a\rM502\n")
    assert {(h.line, h.reason) for h in facts.hazards if h.severity == "refuse"} == {
        (3, "control_character"),
        (4, "control_character"),
    }


def test_hazards_name_line_and_command(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, "G28\nG1 X1\nG1 X2 M502\nG1 X3\nm 0110 N5\n")
    assert [(h.line, h.code, h.severity) for h in facts.hazards] == [(3, "M502", "refuse"), (5, "M110", "refuse")]


def test_a_flood_of_small_findings_hides_no_grave_one(tmp_path: Path) -> None:
    flood = "G1 X1\nG1 X2\n" + "".join(f"M{n}\nG1 X1\nG1 X2\n" for n in range(2000, 4000))
    facts = facts_of(tmp_path, "G28\n" + flood + "M502\n")
    assert len(facts.hazards) == 301
    assert facts.hazards[-1].code == "M502"


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "line",
    [
        b"A" + b" " * 900_000 + b"B*",
        b"M862.3 P" + b" " * 900_000 + b"x",
        b"N1" * 400_000,
        b"G1" + b" X1" * 300_000,
        b"M117 " + b"M" * 900_000,
        b";" + b"a " * 450_000,
    ],
)
def test_no_line_takes_long(tmp_path: Path, line: bytes) -> None:
    with contextlib.suppress(Refusal):
        facts_of(tmp_path, b"G28\n" + line + b"\nG1 X1\nG1 X2\nG1 X3\n")


def test_many_times_the_same_is_said_twenty_times(tmp_path: Path) -> None:
    assert len(facts_of(tmp_path, "G28\n" + "M500\n" * 500).hazards) == 20


# ---------------------------------------------------------------- packed files


def test_a_packed_file_is_understood_like_the_plain_one(tmp_path: Path) -> None:
    plain = FIXTURES / "cube-pla-mk3.gcode"
    packed = tmp_path / "cube.gcode.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    facts = understand(packed, Limits())
    assert facts.measured == understand(plain, Limits()).measured
    assert facts.size == packed.stat().st_size
    assert unpack(packed, tmp_path / "cube.gcode", Limits()) == plain.stat().st_size
    assert (tmp_path / "cube.gcode").read_bytes() == plain.read_bytes()


def test_bad_packed_files(tmp_path: Path) -> None:
    packed = gzip.compress((FIXTURES / "cube-pla-mk3.gcode").read_bytes())
    assert code_of(tmp_path, packed[:-500]) == "gcode_truncated"
    assert code_of(tmp_path, packed[:500] + b"\0" * 100 + packed[600:]) == "gzip_damaged"
    bomb = gzip.compress(b"G1 X1\n" * 4_000_000, compresslevel=9)
    assert len(bomb) < 100_000
    assert code_of(tmp_path, bomb) == "gzip_bomb"
    small = Limits(max_unpacked_bytes=2 << 20, max_ratio=100_000)
    assert code_of(tmp_path, bomb, small) == "file_too_large"


def test_a_refused_file_leaves_no_index(tmp_path: Path) -> None:
    path = tmp_path / "bad.gcode"
    path.write_text("dear all\nhello there\n")
    with pytest.raises(Refusal):
        understand(path, Limits(), tmp_path / "index")
    assert [entry.name for entry in tmp_path.iterdir()] == ["bad.gcode"]


def test_an_index_that_is_being_read_is_not_touched_by_a_new_one(tmp_path: Path) -> None:
    path = FIXTURES / "cube-pla-mk3.gcode"
    understand(path, Limits(), tmp_path / "index")
    with IndexedFile(path, tmp_path / "index") as indexed:
        lines = indexed.lines()
        first = next(lines)
        understand(path, Limits(hotend_max_c=100), tmp_path / "index")
        assert first.number + sum(1 for _ in lines) == indexed.total


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_understood_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.gcode"
    path.write_bytes(content)
    try:
        understand(path, Limits(), tmp_path / "index")
    except Refusal as refusal:
        assert re.fullmatch(r"[a-z0-9_]+", refusal.code)
