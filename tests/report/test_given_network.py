"""A film and a report of a run whose network is an object: it is given again, and the errors say how."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import nchl
from nchl.errors import RunError
from nchl.report import film, page

pytest.importorskip("imageio")
pytest.importorskip("jinja2")


def oja(pre: torch.Tensor, post: torch.Tensor, weight: torch.Tensor, eta_post: torch.Tensor) -> torch.Tensor:
    return eta_post * post * (pre - post * weight)


@pytest.mark.slow
def test_a_film_and_a_report_take_the_network_that_the_folder_cannot_hold(tmp_path: Path) -> None:
    def network() -> nchl.PlasticMLP:
        return nchl.PlasticMLP([4, 3, 2], rule=oja)

    options = {"population": 8, "generations": 2, "max_episode_steps": 20, "simulator": "gymnasium"}
    run = nchl.run("CartPole-v1", network=network(), out=tmp_path / "run", **options).folder
    with pytest.raises(RunError, match=rf"nchl\.report\.film\.film\('{run}', network=NET\)"):
        film.film(run)
    with pytest.raises(RunError, match=rf"nchl\.report\.page\.write\('{run}', network=NET\)"):
        page.write(run, episodes=2)
    made = film.film(run, network=network(), seconds=0.2)
    assert Path(made["film"]).stat().st_size > 0
    written = page.write(run, episodes=2, network=network())
    assert written["microscope"]["steps"] > 0
    assert not [note for note in written["notes"] if "There is no" in note]
