"""Settings that contradict one another are refused at the start."""

import pytest
from pydantic import ValidationError

from app.settings import Settings


def test_the_limit_of_all_bodies_is_at_least_that_of_one():
    assert Settings(body_limit_bytes=1_000, bodies_limit_bytes=1_000).bodies_limit_bytes == 1_000
    with pytest.raises(ValidationError, match="ATELIER_BODIES_LIMIT_BYTES is 999, but a single body may have 1000"):
        Settings(body_limit_bytes=1_000, bodies_limit_bytes=999)


def test_an_error_of_settings_shows_no_secret():
    """Plain uvicorn prints the error unchanged."""
    with pytest.raises(ValidationError) as refused:
        Settings(admin_key="TOPSECRETKEY123", tls_key_password="PASSWORD9")
    assert "TOPSECRET" not in str(refused.value)
    assert "PASSWORD9" not in str(refused.value)


def test_only_known_servers_have_names_of_metrics():
    assert Settings(metrics_compat="triton, tfs").metrics_compat == ("triton", "tfs")
    with pytest.raises(ValidationError, match="Input should be 'triton' or 'tfs'"):
        Settings(metrics_compat="triton,kserve")
