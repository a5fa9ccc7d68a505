"""The page as text: self-contained, escaped, honest about what was measured."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from bpfree.errors import WorldError
from bpfree.records import Metrics
from bpfree.report import build_report, form, grid
from bpfree.report.summary import summarise
from bpfree.results import ResultsFolder

EVIL = "<script>alert(1)</script>"
METHODS = ["backprop", "forward_forward", "cascaded_forward", "mono_forward"]
TRIALS = [f"trials-{name}" for name in METHODS]
NAMES = [
    "accuracy-energy", "curves-by-epoch", "curves-by-joules", "curves-by-seconds", "decomposition", "energy-by-phase",
    "energy-to-accuracy", "losses-by-epoch", "total-energy", *sorted(TRIALS), "tuning-cost", "tuning-history",
]  # fmt: skip


class Page(HTMLParser):
    """Tags with their attributes, and the text outside of style, script and svg."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words, self.hidden = [], [], 0
        self.feed(html)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.hidden += tag in ("style", "script", "svg")

    def handle_endtag(self, tag):
        self.hidden -= tag in ("style", "script", "svg")

    def handle_data(self, data):
        if not self.hidden:
            self.words.append(data)


def built(path, output):
    return build_report(path, output).read_text()


@pytest.fixture(scope="module")
def output(make_study, tmp_path_factory):
    """The report of a whole modelled study, made once."""
    folder = tmp_path_factory.mktemp("whole")
    build_report(make_study(folder / "results"), folder / "report")
    return folder / "report"


@pytest.fixture(scope="module")
def html(output):
    return (output / "index.html").read_text()


def resources(html):
    """Whatever a browser might fetch, or a reader follow."""
    for _, attributes in Page(html).tags:
        yield from (v for k, v in attributes.items() if k in ("src", "href", "xlink:href", "srcset", "data", "action"))
    yield from re.findall(r"url\(\s*['\"]?([^)'\"]*)", html)
    yield from re.findall(r"@import\s+(\S+)", html)


def test_nothing_is_fetched(html):
    found = list(resources(html))
    assert found
    assert all(address.startswith(("data:", "#", "figures/")) for address in found)
    assert re.findall(r"https?://(?!www\.w3\.org/)[^\s\"'<]*", html) == []
    assert html.count("<script") == 1  # our own


def test_every_figure_is_drawn_in_the_page_and_as_a_file(output, html):
    assert sorted(p.name for p in (output / "figures").iterdir()) == [f"digits-mlp-{name}.svg" for name in NAMES]
    page = Page(html)
    svgs = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(svgs) == len(NAMES)
    assert all(a["aria-label"] and a["role"] == "img" and "viewbox" in a and "width" not in a for a in svgs)
    for name in NAMES:
        (link,) = [a for tag, a in page.tags if tag == "a" and a.get("download") == f"digits-mlp-{name}.svg"]
        assert (output / link["href"]).is_file()


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_stands_alone(output, name):
    text = (output / "figures" / f"digits-mlp-{name}.svg").read_text()
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert float(root.get("width")) > 100
    assert "var(" not in text
    assert not re.search("#0([0-9a-f])0[0-9a-f]0[0-9a-f]", text)  # no sentinel colour is left
    assert not re.search("NaN|Infinity|undefined|null", text)


def test_inline_figures_follow_the_theme(html):
    inline = "".join(re.findall("<svg.*?</svg>", html, re.DOTALL))
    assert not re.search("#0[0-9a-f]0[0-9a-f]0[0-9a-f]", inline)
    style = re.search("<style>(.*?)</style>", html, re.DOTALL)[1]
    used = set(re.findall(r"var\((--[\w-]+)", html))
    assert used
    assert used <= set(re.findall(r"(--[\w-]+):", style))


def test_no_name_is_used_twice(html):
    ids = [attributes["id"] for _, attributes in Page(html).tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_what_the_page_tells(html):
    text = Page(html).text
    for part in (
        "No energy was measured: joules are a model", "small sample", "Backprop", "Forward-Forward", "Cascaded-Forward",
        "Mono-Forward", "5 of 5 runs", "by assumption", "cpu seconds model", "there is no counter here", "Test CPU",
        "bpfree study made-up.toml", "CodeCarbon, Italy", "torch 2.13.0", "20 final runs", "learning_rate = 0.00100",
        "2 completed",
    ):  # fmt: skip
        assert part in text
    assert text.count("bpfree study") == 1


def tags_of_quality(html):
    return set(re.findall(r'class="tag">(\w+)<', html))


def test_modelled_is_never_shown_as_measured(html):
    assert tags_of_quality(html) == {"modelled", "absent"}
    assert re.findall(r"<td[^>]*>\s*(?:<[^>]*>)?measured", html) == []
    svgs = "".join(re.findall("<svg.*?</svg>", html, re.DOTALL))
    assert svgs.count("(modelled)") >= 4
    assert "measured" not in svgs


def test_measured_is_never_shown_as_modelled(made, tmp_path):
    html = built(made(quality="measured", component="gpu"), tmp_path / "report")
    assert tags_of_quality(html) == {"measured", "absent"}
    svgs = "".join(re.findall("<svg.*?</svg>", html, re.DOTALL))
    assert "(measured)" in svgs
    assert "modelled" not in svgs
    assert "by assumption" not in html
    assert "nvml energy counter" in html
    assert "1,024" in html  # the device's peak, not the host's


def test_tuning_of_another_quality_is_not_added(made, tmp_path):
    """The trials were modelled, the final runs measured: their sum would mean nothing."""
    path = made(quality="measured")
    for file in path.glob("tuned/*.json"):
        file.write_text(file.read_text().replace('"measured"', '"modelled"'))
    html = built(path, tmp_path / "report")
    assert "tuning-cost" not in html


def test_unresolved_joules_enter_no_figure(made, tmp_path):
    html = built(made(quality="unresolved"), tmp_path / "report")
    without_joules = sorted(["curves-by-epoch", "curves-by-seconds", "losses-by-epoch", "tuning-history", *TRIALS])
    drawn = sorted(p.name for p in (tmp_path / "report" / "figures").iterdir())
    assert drawn == [f"digits-mlp-{name}.svg" for name in without_joules]
    assert tags_of_quality(html) == {"absent", "unresolved"}


def test_one_run_without_energy(made, tmp_path):
    """One logarithm of nothing must not spoil the chart of all others."""
    quality = {("backprop", 0): "absent", ("mono_forward", 0): "unresolved"}
    path = made(seeds=2, quality=lambda algorithm, seed: quality.get((algorithm, seed), "modelled"))
    built(path, tmp_path / "report")
    text = (tmp_path / "report" / "figures" / "digits-mlp-accuracy-energy.svg").read_text()
    assert not re.search("NaN|Infinity", text)
    assert len(re.findall('aria-roledescription="circle"', text)) == 6


VARIANTS = {
    "absent": {"quality": "absent"},
    "one seed": {"seeds": 1},
    "mixed": {"quality": lambda algorithm, seed: "measured" if algorithm == "backprop" else "modelled"},
    "half": {"missing": lambda algorithm, seed: seed > 2 or (seed == 2 and algorithm != "backprop")},
    "no baseline": {"missing": lambda algorithm, seed: algorithm == "backprop"},
    "all diverged": {"fields": {("mono_forward", s): {"status": "diverged"} for s in range(5)}},
    "all failed": {"fields": {("backprop", s): {"status": "failed", "error": "no"} for s in range(5)}},
    "untuned": {"tuning": None},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_study_has_a_page(made, tmp_path, variant):
    html = built(made(**VARIANTS[variant]), tmp_path / "report")
    assert not re.search(r"\bNone\b|\bnan\b|NaN|Infinity|Undefined", html)
    for file in (tmp_path / "report" / "figures").iterdir():
        ElementTree.parse(file)
    text = Page(html).text
    expected = {
        "absent": "No energy was measured or modelled",
        "one seed": "one seed: no interval",
        "mixed": "a ratio of the two would mean nothing",
        "half": "not finished: 9 of 20",
        "no baseline": "Backprop has no completed run",
        "all diverged": "Mono-Forward has no completed run",
        "all failed": "Backprop has no completed run",
        "untuned": "Fairness ledger",
    }
    assert expected[variant] in text
    assert ("Energy of tuning" in text) == (variant not in ("absent", "mixed", "untuned"))


@pytest.mark.parametrize(
    ("options", "tags"), [({}, ["modelled"]), (VARIANTS["mixed"], ["mixed", "measured", *["modelled"] * 3])]
)
def test_no_modelled_energy_stands_untagged(made, tmp_path, options, tags):
    """Tagged in the head of its column, and in its row where the methods' qualities differ."""
    html = built(made(**options), tmp_path / "report")
    tables = [t for t in re.findall("<table>.*?</table>", html, re.S) if re.search('"col">(energy,|energy <|J a)', t)]
    assert len(tables) >= 3  # results, tuning, ledger
    assert all(re.findall('class="tag">(.*?)<', table)[: len(tags)] == tags for table in tables)


def test_texts_from_outside_are_escaped(made, tmp_path):
    fields = {
        ("backprop", 0): {"status": "failed", "error": f"ValueError: {EVIL}"},
        ("backprop", 1): {"warnings": [f"odd {EVIL}"]},
        ("backprop", 2): {"environment": {"cpu": EVIL, "packages": {}}},
    }
    html = built(made(description=f'{EVIL} & "more" </style>', fields=fields), tmp_path / "report")
    page = Page(html)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert EVIL not in html
    assert page.text.count(EVIL) >= 5  # description, error, warning, environment, and the study's text


def test_a_report_is_the_same_when_made_again(made, tmp_path):
    path = made()
    assert built(path, tmp_path / "a") == built(path, tmp_path / "b")


def cells(html, heading):
    """The texts of the rows of the table after a heading."""
    table = re.search(rf"{re.escape(heading)}</h[23]>.*?(<table>.*?</table>)", html, re.DOTALL)[1]
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
    return [[Page(cell).text for cell in re.findall(r"<t[dh][ >].*?</t[dh]>", row, re.DOTALL)] for row in rows]


def test_each_comparison_has_its_level(html):
    head, *rows = cells(html, "Each comparison, and at what level")
    assert head == ["method", "of", "estimate", "interval", "level", "pairs", "shown", "equivalence within 0.5 points"]
    assert [row[0] for row in rows] == ["Forward-Forward"] * 2 + ["Cascaded-Forward"] * 2 + ["Mono-Forward"] * 2
    levels = sorted(float(row[4].split()[0]) for row in rows)
    assert levels[-1] == pytest.approx(100 - 5 / 6, abs=0.01)
    assert levels[0] >= 95
    assert {row[5] for row in rows} == {"5"}
    assert {row[6] for row in rows} <= {"lower", "higher", "no difference shown"}
    assert all(row[7] == "–" for row in rows if row[1] == "energy ratio")
    assert all(re.match(r"(not )?shown \(.* to .*\)$", row[7]) for row in rows if row[1] != "energy ratio")
    assert "No p-value is given" in Page(html).text


def test_from_eight_seeds_on_a_sign_flip_p_stands_beside_its_floor(made, tmp_path):
    head, *rows = cells(built(made(seeds=8), tmp_path / "report"), "Each comparison, and at what level")
    assert head[6] == "sign-flip p"
    assert rows[0][6] == "0.0078 (floor 0.0078)"
    assert all(row[6].endswith("(floor 0.0078)") for row in rows)


def test_gross_and_net_energy_where_it_was_measured(made, tmp_path):
    head, *rows = cells(built(made(quality="measured"), tmp_path / "report"), "Results on digits-mlp")
    assert head[3:5] == ["energy, J measured", "net of idle, J"]
    gross, net = (float(rows[0][i].split()[0]) for i in (3, 4))
    assert net == pytest.approx(0.8 * gross, rel=0.01)


def test_of_modelled_energy_no_net_is_shown(html):
    head, *rows = cells(html, "Results on digits-mlp")
    assert head == [
        "method", "test accuracy, %", "against Backprop, points", "energy, J modelled", "energy ratio", "time, s",
        "time ratio", "peak memory, MiB", "CO₂e, mg",
    ]  # fmt: skip
    assert all(len(row) == len(head) for row in rows)
    assert re.fullmatch(r"9\.\d\d|10\.\d [\d.]+ to [\d.]+", rows[0][8])


def test_names_that_are_no_names(made, tmp_path):
    """A results folder may come from anywhere: what it is called must not leave the page or the output folder."""
    path = made()
    file = path / "study.toml"
    file.write_text(file.read_text().replace('"made-up"', f"'{EVIL}'").replace('"digits-mlp"', '"../../digits-mlp"'))
    for record in path.glob("runs/*/record.json"):
        record.write_text(record.read_text().replace('"digits-mlp"', '"../../digits-mlp"'))
    before = set(tmp_path.rglob("*"))
    html = built(path, tmp_path / "out" / "report")
    assert EVIL not in html
    assert f"bpfree study '{EVIL}.toml'" in Page(html).text
    new = {p for p in set(tmp_path.rglob("*")) - before if p.is_file()}
    assert all(p.is_relative_to(tmp_path / "out" / "report") for p in new)
    assert len(new) > 4


def test_the_code_that_made_the_runs_is_named(made, tmp_path):
    facts = {"bpfree": "0.1.0", "commit": "0123456789ab", "cpu": "Test CPU"}
    path = made(fields={("backprop", 0): {"environment": facts}})
    html = built(ResultsFolder(path), tmp_path / "report")  # the folder or its path, as one has it
    text = "These runs were made with bpfree 0.1.0 at commit 0123456789ab; bpfree 0.1.0, no commit recorded."
    assert text in Page(html).text


def test_no_study_no_report(tmp_path):
    with pytest.raises(WorldError) as caught:
        build_report(tmp_path, tmp_path / "report")
    assert str(caught.value).count("\n") == 0
    assert "study.toml" in str(caught.value)
    assert not (tmp_path / "report").exists()


def test_an_output_that_cannot_be_written(made, tmp_path):
    (tmp_path / "report").write_text("a file where a folder should be")
    with pytest.raises(WorldError, match="cannot write"):
        build_report(made(), tmp_path / "report")


def test_a_loss_is_never_shown_as_an_accuracy(made, tmp_path):
    """Lower is better there, and it is no share: the page compares what it can and says so."""
    loss = Metrics(test_metric=0.4321, validation_metric=0.4567)
    fields = {(algorithm, seed): {"metrics": loss} for algorithm in METHODS for seed in range(5)}
    html = built(made(fields=fields), tmp_path / "report")
    text = Page(html).text
    assert "the records, of an early version, do not name it" in text
    assert "43.21" not in text
    assert "most accurate" not in text
    assert "highest mean test accuracy" not in text
    assert "energy ratio" in text


def test_a_cross_of_algorithms_and_optimizers_is_a_grid(made, tmp_path):
    folder = made()
    text = Page(built(folder, tmp_path / "one")).text
    assert "Algorithm by optimizer" not in text, "one optimizer is no cross"
    workload = summarise(folder).workloads[0]
    twice = [m for o in ("adamw", "dog") for m in (replace(method, optimizer=o) for method in workload.methods)]
    found = grid.grid(replace(workload, methods=twice))
    assert found["optimizers"] == ["adamw", "dog"]
    assert [row["name"] for row in found["rows"]] == METHODS
    assert all(len(row["cells"]) == 2 for row in found["rows"])
    assert found["rows"][0]["cells"][0]["metric"] == form.accuracy(workload.methods[0].accuracy)


def test_an_environment_of_odd_types_is_shown_as_it_is(made, tmp_path):
    odd = {"bpfree": 1, "commit": ["a", "b"], "memory_bytes": "much", "packages": "all of them", "cpu": {"name": None}}
    path = made(fields={("backprop", 0): {"environment": odd}})
    page = build_report(path, tmp_path / "report").read_text()
    assert "much" in page
    assert "bpfree 1 at commit" in page
