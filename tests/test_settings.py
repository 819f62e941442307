"""Settings from the environment and by hand."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from glassformer.settings import Settings


def test_defaults_are_safe() -> None:
    settings = Settings()
    assert settings.is_loopback
    assert settings.cors_origins == ["localhost"]
    assert not settings.insecure


def test_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GLASSFORMER_PORT", "9000")
    monkeypatch.setenv("GLASSFORMER_MODEL_DIRS", f"{tmp_path}, /models")
    monkeypatch.setenv("GLASSFORMER_API_KEYS", "a-first-long-key,a-second-long-key")
    settings = Settings()
    assert settings.port == 9000
    assert settings.model_dirs == [tmp_path, Path("/models")]
    assert [key.get_secret_value() for key in settings.api_keys] == ["a-first-long-key", "a-second-long-key"]
    assert Settings(port=1).port == 1  # what is given by hand wins


def test_keys_are_never_shown() -> None:
    settings = Settings(api_keys="a-first-long-key")  # type: ignore[arg-type]
    assert "a-first" not in repr(settings) + str(settings) + settings.model_dump_json()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", -1),
        ("port", 70_000),
        ("api_keys", "short"),
        ("api_keys", "with-a-newline\nin-it"),
        ("rate_limit", "often"),
        ("tile_rate_limit", "0.5"),
        ("wrong_key_limit", "3/lifetime"),
        ("trace_bytes", -5),
        ("dtype", "int4"),
        ("log_level", "loud"),
        ("request_timeout_secs", 0),
        ("unknown", 1),
    ],
)
def test_wrong_values_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("192.0.2.1", False),
        ("x.example", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert Settings(host=host).is_loopback is expected


def test_every_setting_says_what_it_means() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
