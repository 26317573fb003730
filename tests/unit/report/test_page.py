"""The report in a real browser: whole without a network, and no wider than a phone, in the light and in the dark."""

from __future__ import annotations

import pytest
from browser import Browser, find

from jmlr.options import ReportOptions
from jmlr.stages.report import report

PROGRAM = find()


@pytest.mark.slow
@pytest.mark.skipif(PROGRAM is None, reason="no chromium or google-chrome on PATH")
def test_the_report_needs_no_network_and_fits_a_phone(folders, tmp_path):
    report(tmp_path / "out", **folders.arguments(), options=ReportOptions())
    colours = set()
    with Browser(PROGRAM, tmp_path) as page:
        for width in (1280, 390):
            for scheme in ("light", "dark"):
                page.send(
                    "Emulation.setDeviceMetricsOverride",
                    width=width,
                    height=844,
                    deviceScaleFactor=1,
                    mobile=width < 500,
                )
                page.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
                page.open(tmp_path / "out/report.html")
                assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (width, scheme)
                assert page.evaluate("performance.getEntriesByType('resource').length") == 0
                assert page.evaluate(
                    "[...document.querySelectorAll('svg')].every(s => s.getBoundingClientRect().width > 120)"
                )
                colours.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        inside = "[...document.querySelectorAll('nav a')].every(a => document.getElementById(a.hash.slice(1)))"
        assert page.evaluate(inside)
    assert len(colours) == 2
