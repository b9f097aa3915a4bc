"""The first use of kernels compiles them, which takes its time: that is said once, and only when it is so."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nchl.rules.kernels import build

pytestmark = pytest.mark.skipif(build.compiler_path() is None, reason="no C++ compiler")

TWICE = "from nchl.rules.kernels.build import library; first = library('resize'); assert library('resize') is first, first"
CONVOLVE = """
import torch, nchl
network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3, bias=False), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(8, 2, bias=False))
net = nchl.from_module(network, (1, 4, 4), population=2)
net.set_hrules(torch.zeros(2, net.nparams))
net.reset()
net.step(torch.zeros(2, 1, 4, 4))
"""


# In place of a compiler: gives what lies compiled already, so that a test of the line need not wait.
COMPILER = """#!/bin/sh
while [ $# -gt 1 ]; do [ "$1" = -o ] && cp "{compiled}" "$2"; shift; done
"""


def stderr_of(program: str, folder: Path, **environment: str) -> list[str]:
    environment = {**os.environ, "NCHL_CACHE": str(folder), **environment}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()


def compiled(name: str) -> str:
    found = build.library(name)
    assert not isinstance(found, str), found
    return found._name


def test_a_program_is_told_once_and_never_again(tmp_path: Path) -> None:
    compiler = tmp_path / "compiler"
    compiler.write_text(COMPILER.format(compiled=compiled("resize")))
    compiler.chmod(0o700)
    (line,) = stderr_of(TWICE, tmp_path / "cache", CXX=str(compiler))
    assert line.startswith("nchl compiles its kernels for pictures on this machine")
    assert line.endswith(f"they are kept in {tmp_path / 'cache'} for the next time")
    assert stderr_of(TWICE, tmp_path / "cache", CXX=str(compiler)) == []


def test_it_is_one_line_of_the_logger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    there = compiled("kernels")

    def copy(compiler: str, source: Path, path: Path) -> None:
        assert len(caplog.records) == 1  # said before the wait, not after
        shutil.copy(there, path)
        path.chmod(0o700)

    monkeypatch.setattr(build, "_compile", copy)
    monkeypatch.setenv("NCHL_CACHE", str(tmp_path / "cache"))
    with caplog.at_level(logging.INFO, "nchl"):
        for _ in range(2):
            assert not isinstance(build._library.__wrapped__("kernels"), str)
    (record,) = caplog.records
    assert record.name == "nchl"
    assert "nchl compiles its kernels for plastic convolutional networks on this machine" in record.getMessage()


@pytest.mark.slow
def test_a_convolutional_network_says_it_on_the_terminal(tmp_path: Path) -> None:
    (line,) = stderr_of(CONVOLVE, tmp_path / "cache")
    assert "plastic convolutional networks" in line
    assert stderr_of(CONVOLVE, tmp_path / "cache") == []
