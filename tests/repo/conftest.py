"""A test of the repository that fails says what to do: its docstring begins with "Fix:"."""

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    fix = (item.function.__doc__ or "").strip()
    if report.when == "call" and report.failed and fix:
        report.sections.append(("what to do", fix.removeprefix("Fix: ")))
    return report


def pytest_collection_modifyitems(items):
    here = [i for i in items if "/tests/repo/" in i.path.as_posix()]
    silent = sorted({i.function.__name__ for i in here if not (i.function.__doc__ or "").startswith("Fix: ")})
    if silent:
        raise pytest.UsageError(f"tests/repo: begin the docstring of {', '.join(silent)} with 'Fix: ' and what to do")
