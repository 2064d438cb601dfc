from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_core.errors import ConfigError
from quant_core.masking import demand_no_secret, fill_variables, is_secret_name, mask_secrets, mask_value

SECRETS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=8, max_size=30)


@given(secret=SECRETS, before=st.text(max_size=5), after=st.text(max_size=5))
def test_a_secret_is_masked_in_every_form_it_can_take(secret: str, before: str, after: str) -> None:
    environ = {"VENDOR_API_KEY": secret, "HOME": "/"}
    raw = before.encode("utf-8", "replace") + secret.encode() + after.encode("utf-8", "replace")
    forms = [secret, repr(secret)[1:-1], quote(secret), quote(secret, safe=""), quote_plus(secret)]
    for form in forms:
        assert secret not in mask_secrets(f"{before}{form}{after}", environ)
    for encode in (b64encode, urlsafe_b64encode):
        text = encode(raw).decode()
        told = mask_secrets(text, environ)
        assert "***" in told
        # What is left of it are the characters that also hold bytes around it.
        assert len(told) - 3 <= len(text) - 4 * (len(secret.encode()) // 3) + 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("at https://me:pw@host/x?a=1, then", "at https://***@host/x?a=1, then"),
        ("https://token@host/x", "https://***@host/x"),
        ("https://host/x?a=1&api_key=abc&b=2#c", "https://host/x?a=1&api_key=***&b=2#c"),
        ("https://host/x?accessToken=abc", "https://host/x?accessToken=***"),
        ("https://host/x?monkey=1&keyboard=2", "https://host/x?monkey=1&keyboard=2"),
        ("https://host/@scope/x", "https://host/@scope/x"),
        ("host=h password=abc user=u", "host=h password=*** user=u"),
        ("rows=3 key=date", "rows=3 key=date"),
        ("nothing here", "nothing here"),
        ("", ""),
    ],
)
def test_addresses_are_masked_whatever_the_environment(text: str, told: str) -> None:
    assert mask_secrets(text, {}) == told


def test_a_password_nobody_encoded_is_masked_where_the_environment_has_it() -> None:
    uri = "postgresql://me:pa/ss#@host:5432/db"
    assert (
        mask_secrets(f"no answer from {uri}", {"QUANT_MLFLOW_URI": uri})
        == "no answer from postgresql://***@host:5432/db"
    )


@pytest.mark.parametrize(
    ("name", "value", "is_hidden"),
    [
        ("PGPASSWORD", "abcdefgh", True),
        ("AWS_ACCESS_KEY_ID", "abcdefgh", True),
        ("SecretToken", "abcdefgh", True),
        ("MYSQL_PWD", "abcdefgh", True),
        ("DATABASE_URL", "postgresql://u:abcdefgh@h/d", True),
        ("DATABASE_URL", "postgresql://u:%61bcdefgh@h/d", True),
        ("DSN", "host=h password='abcdefgh'", True),
        ("FEED_URL", "https://h/x?api_key=abcdefgh", True),
        ("GIT_URL", "https://abcdefgh@h/x", True),
        ("PWD", "abcdefgh", False),
        ("TOKENIZERS_PARALLELISM", "abcdefgh", False),
        ("KEYBOARD", "abcdefgh", False),
        ("NPM_TOKEN", "abc", False),
        ("PAGE", "https://abcdefgh/a@b", False),
    ],
)
def test_which_variables_hold_secrets(name: str, value: str, is_hidden: bool) -> None:
    assert ("abcdefgh" not in mask_secrets("say abcdefgh or abc", {name: value})) is is_hidden


def test_nested_values_are_masked_keys_too() -> None:
    value = {"abcdefgh": ["x abcdefgh", 1, None, {"k": ("abcdefgh",)}]}
    told = mask_value(value, lambda text: mask_secrets(text, {"A_KEY": "abcdefgh"}))
    assert told == {"***": ["x ***", 1, None, {"k": ["***"]}]}


@pytest.mark.parametrize(
    "name", ["api_key", "apiKey", "APIKEY", "accesstoken", "db.password", "x-amz-signature", "pwd"]
)
def test_names_of_secrets_are_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["monkey", "key_column", "api_key_env", "keyboard", "path", "tokenizer", "", "1", "US:1"]
)
def test_other_names_are_not(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "table",
    [
        {"api_key": "${VENDOR_API_KEY}"},
        {"base_url": "https://${USER_NAME}:${PASS_WORD}@host/x"},
        {"base_url": "https://me:${PASS_WORD}@host/x"},
        {"base_url": "https://${TOKEN}@host/x"},
        {"columns": {"token": "symbol", "key": "close"}, "password": "", "tokens": 3},
        {"path": "/data/a@b/x.csv", "schemas": [{"pattern": "*.csv"}]},
    ],
)
def test_a_table_without_secrets_passes(table: dict[str, object]) -> None:
    demand_no_secret(table, "here")


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({"api_key": "abcdefgh"}, "api_key"),
        ({"base_url": "https://me:abcdefgh@host"}, "base_url"),
        ({"base_url": "https://${NAME}:abcdefgh@host"}, "base_url"),
        ({"a": {"b": [{"c": "https://host/?token=abcdefgh"}]}}, "a.b.c"),
    ],
)
def test_a_table_with_a_secret_is_refused_by_the_name_of_its_place(table: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError, match=f"here: {key} holds a secret.*environment variable") as caught:
        demand_no_secret(table, "here")
    assert "abcdefgh" not in str(caught.value)


def test_references_are_filled_percent_encoded_and_must_be_set() -> None:
    assert fill_variables("https://me:${PW}@h/$PW", {"PW": "a/b@c"}) == "https://me:a%2Fb%40c@h/$PW"
    with pytest.raises(ConfigError, match="PW, which is not set"):
        fill_variables("https://me:${PW}@h", {"PW": ""})
