"""botocore and we at the fixed addresses; test_sources_botocore.py runs this in a namespace that has them."""

from __future__ import annotations

import pytest
import side_by_side
from support.link_local import PLACES


@pytest.mark.parametrize(("kind", "address", "settings"), PLACES.values(), ids=PLACES)
def test_place(monkeypatch, tmp_path, kind, address, settings):
    side_by_side.bare_environment(monkeypatch, tmp_path)
    for variable, value in settings.items():
        monkeypatch.setenv(variable, value)
    with kind((address, 80)):
        assert side_by_side.ours() == side_by_side.theirs() is not None
