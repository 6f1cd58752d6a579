import pytest

from app.main import create_app
from app.settings import Settings


@pytest.mark.parametrize(("cores", "rests"), [(1, True), (4, False)])
def test_the_event_loop_rests_only_where_it_shares_a_core_with_the_models(monkeypatch, tmp_path, cores, rests):
    monkeypatch.setattr("app.main.threads_of_a_worker", lambda workers: cores // workers)
    app = create_app(Settings(models_dir=tmp_path, watch="off"))
    assert (app.connections.turns.rest is not None) is rests
