# SPDX-License-Identifier: Apache-2.0
"""Django: its cache and its sessions."""

import sys

from django.conf import settings

settings.configure(
    CACHES={"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": sys.argv[1]}},
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    INSTALLED_APPS=["django.contrib.sessions"],
    SECRET_KEY="only for tests",
)

import django  # noqa: E402 - the settings come first
from django.contrib.sessions.backends.cache import SessionStore  # noqa: E402
from django.core.cache import cache  # noqa: E402


def main() -> None:
    django.setup()
    cache.set("greeting", {"text": "hello"}, timeout=300)
    assert cache.get("greeting") == {"text": "hello"}
    assert cache.add("greeting", 1) is False and cache.add("number", 1) is True
    assert cache.incr("number", 41) == 42
    cache.set_many({f"key-{number}": number for number in range(100)}, timeout=60)
    assert sum(cache.get_many([f"key-{number}" for number in range(100)]).values()) == 4950
    assert cache.touch("greeting", 600) and cache.get_or_set("computed", lambda: 7) == 7
    cache.delete_many(["number", "computed"])
    assert cache.get("number") is None

    session = SessionStore()
    session["user"] = 17
    session.set_expiry(3600)
    session.save()
    again = SessionStore(session_key=session.session_key)
    assert again["user"] == 17
    again.cycle_key()
    assert not SessionStore().exists(session.session_key) and SessionStore(again.session_key)["user"] == 17
    again.flush()
    assert again.get("user") is None


main()
