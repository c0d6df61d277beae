"""Login: one code, one session; attempts are bounded."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from cloud.access.credentials import Credentials
from cloud.access.login import TokenBucket
from cloud.errors import UsageError
from cloud.settings import load
from tests.cloud.server import RunningCloud, running_cloud


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def credentials(tmp_path: Path, clock: Clock) -> Credentials:
    return Credentials(load(data=tmp_path, login_code_s=60, session_s=600), now_s=clock)


def test_the_printed_link_opens_the_board_once(cloud: RunningCloud) -> None:
    with httpx.Client() as browser:
        answer = browser.get(cloud.board_url)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("andon_session=")
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
        assert browser.get(f"{cloud.url}/v1/board").status_code == 200
    with httpx.Client() as other:
        assert other.get(cloud.board_url).status_code == 401
        assert other.get(f"{cloud.url}/v1/board").status_code == 401


def test_a_spent_link_says_so_on_a_page_in_the_readers_language(cloud: RunningCloud) -> None:
    link = f"{cloud.url}/login?code=spent"
    answer = httpx.get(link)
    assert answer.status_code == 401
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["cache-control"] == "no-store"
    assert "This link no longer works" in answer.text
    assert "<code>andon-cloud login-url --data FOLDER</code>" in answer.text
    assert "此链接已失效" in httpx.get(link, headers={"accept-language": "zh-CN"}).text


def test_a_session_may_not_write(cloud: RunningCloud) -> None:
    with httpx.Client() as browser:
        fresh_session(cloud, browser)
        answer = browser.post(f"{cloud.url}/api/v2/write?bucket=andon", content="m f=1")
        assert answer.status_code == 403


def test_attempts_to_guess_are_slowed_down(tmp_path: Path) -> None:
    with running_cloud(tmp_path, login_burst_max="3", login_refill_s="1000") as cloud:
        found = [httpx.get(f"{cloud.url}/login?code=guess{n}") for n in range(4)]
        assert [answer.status_code for answer in found] == [401, 401, 401, 429]
        assert int(found[-1].headers["Retry-After"]) > 0


def test_of_many_that_use_one_code_at_once_one_wins(credentials: Credentials) -> None:
    code = credentials.create_login_code()
    with ThreadPoolExecutor(8) as pool:
        sessions = list(pool.map(lambda _: credentials.exchange(code), range(16)))
    assert sum(session is not None for session in sessions) == 1


def test_a_code_and_a_session_end_with_their_time(credentials: Credentials, clock: Clock) -> None:
    late, used = credentials.create_login_code(), credentials.create_login_code()
    session = credentials.exchange(used)
    assert session is not None
    clock.now_s += 61
    assert credentials.exchange(late) is None
    assert credentials.by_session(session) is not None
    clock.now_s += 600
    assert credentials.by_session(session) is None


def test_codes_and_sessions_are_bounded_and_the_oldest_goes(tmp_path: Path, clock: Clock) -> None:
    credentials = Credentials(load(data=tmp_path, login_codes_max=2), now_s=clock)
    codes = [credentials.create_login_code() for _ in range(3)]
    assert [credentials.exchange(code) is not None for code in codes] == [False, True, True]


def test_no_secret_is_kept_in_the_file(tmp_path: Path, credentials: Credentials) -> None:
    secrets = [credentials.create_token("write"), credentials.create_login_code()]
    session = credentials.exchange(credentials.create_login_code())
    assert session is not None
    credentials.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for secret in (*secrets, session):
        assert secret.encode() not in stored
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())


def test_a_short_token_is_refused(credentials: Credentials) -> None:
    with pytest.raises(UsageError, match="at least 20 characters"):
        credentials.create_token("write", "short")


def test_a_first_start_that_fails_leaves_the_tokens_to_the_next(credentials: Credentials) -> None:
    with pytest.raises(UsageError):
        credentials.create_first_tokens("short")
    made = credentials.create_first_tokens("long enough to be a token")
    assert made is not None
    assert [row.scope for row in credentials.tokens()] == ["write", "read"]
    assert credentials.by_token(made[0]) is not None
    assert credentials.create_first_tokens(None) is None


def test_a_bucket_of_attempts_refills_with_time(clock: Clock) -> None:
    bucket = TokenBucket(2, 3.0, clock)
    assert [bucket.take() for _ in range(3)] == [0.0, 0.0, 3.0]
    clock.now_s += 3
    assert [bucket.take() > 0 for _ in range(2)] == [False, True]
    clock.now_s += 1_000
    assert [bucket.take() > 0 for _ in range(3)] == [False, False, True]


def fresh_session(cloud: RunningCloud, browser: httpx.Client) -> None:
    code = Credentials(load(data=cloud.data)).create_login_code()
    assert browser.get(f"{cloud.url}/login?code={code}").status_code == 303
