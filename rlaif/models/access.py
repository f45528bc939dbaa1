"""What an endpoint is reached with: its address, its key, further headers. Checked before anything is asked.

No error shows a key: neither one that stands in the right place, nor one that was written where its name belongs.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from rlaif.config import CREDENTIAL, UsageError, keep_secret, looks_like_key, redacted
from rlaif.errors.words import kind_of
from rlaif.secrets import keep_if_key

__all__ = ["ADDRESS", "check_address", "check_headers", "check_variable", "key_in", "normal_address"]

_EXAMPLE = "http://localhost:8000/v1"
ADDRESS = f"an address such as {_EXAMPLE}"
# What calls add to an address themselves.
_PATHS = ("/chat/completions", "/completions", "/responses", "/models", "/embeddings")
# Headers that belong to the call itself.
_OWN = {"accept", "accept-encoding", "connection", "content-length", "content-type", "expect", "te", "upgrade"}
_OWN |= {"host", "transfer-encoding"}


def normal_address(url: str) -> str:
    """An address by which an endpoint is known again: lower-case host, no trailing slash, no user, no query."""
    parts = urlsplit(url)
    return f"{parts.scheme.lower()}://{parts.netloc.rpartition('@')[2].lower()}{parts.path.rstrip('/')}"


def check_address(url: str, key_env: str = "OPENAI_API_KEY", *, called: str = "base_url") -> str:
    """The address itself, if calls can go there.

    Args:
        url: as in "http://localhost:8000/v1". A query is sent with every call ("?api-version=1").
        key_env: the variable where a key belongs that stands in the address.
        called: the setting's name in errors.

    Raises:
        UsageError: it is no such address, or holds a key.
    """
    shown = f"{called} is {redacted(url)!r:.120}"
    expected = f"expected {ADDRESS}"
    if not url.strip():
        raise UsageError(f"{shown}; {expected}, or leave it out.")
    if re.search(r"[\s\x00-\x1f\x7f\\<>\"{}]", url):
        raise UsageError(f"{shown}, which has characters that no address has; {expected}.")
    if "@" in url.split("?")[0]:  # anywhere: a password may have a slash, and an address is then cut elsewhere
        raise UsageError(
            f"{called} holds a user name or password; expected the address alone, and the key in the environment "
            f"variable {key_env}."
        )
    if "://" not in url:
        local = url.startswith(("localhost", "127.", "10.", "192.168.", "0.")) or re.match(r"[\w-]+(?::|/|$)", url)
        likely = re.fullmatch(r"[\w.-]+(?::\d+)?(?:/[\w./-]*)?", url) and not looks_like_key(url)
        hint = f"did you mean {'http' if local else 'https'}://{url}?" if likely else f"{expected}."
        raise UsageError(f"{shown}, which does not begin with http:// or https://; {hint}")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        why = "whose port is no number from 1 to 65535" if "ort" in str(error) else "whose host and port cannot be read"
        if _is_bare_ipv6(url.split("://")[1].split("/")[0]):
            why = "which has an IPv6 address without brackets"
        raise UsageError(f"{shown}, {why}; {expected} or http://[::1]:8000/v1.") from None
    if parts.scheme not in ("http", "https"):
        raise UsageError(f"{shown}; expected one that begins with http:// or https://, such as {_EXAMPLE}.")
    if not host:
        raise UsageError(f"{shown}, which has no host; {expected}.")
    if parts.netloc.count(":") > 1 and "[" not in parts.netloc:
        raise UsageError(
            f"{shown}, which has several colons; {expected}, an IPv6 one in brackets: http://[::1]:8000/v1."
        )
    if port == 0 or (port is None and parts.netloc.endswith(":")):
        raise UsageError(f"{shown}, whose port is no number from 1 to 65535; {expected}.")
    if parts.fragment or url.endswith("#"):
        raise UsageError(f"{shown}, which has a part behind '#' that is never sent; leave that out.")
    if named := [name for name, _ in parse_qsl(parts.query, keep_blank_values=True) if CREDENTIAL.search(name)]:
        raise UsageError(
            f"{called} has {redacted(named[0])!r:.40} in its query, which would be written to the manifest; expected "
            f"the address without it, and the key in the environment variable {key_env} or in extra_headers."
        )
    path = parts.path.rstrip("/").lower()
    if end := next((end for end in _PATHS if path.endswith(end)), None):
        raise UsageError(f"{shown}; leave out {end!r}, which is added to each call: {expected}.")
    return url


def _is_bare_ipv6(netloc: str) -> bool:
    try:
        return isinstance(ipaddress.ip_address(netloc), ipaddress.IPv6Address)
    except ValueError:
        return False


def check_variable(name: str, *, called: str = "api_key_env") -> None:
    """A UsageError where the name of a variable is a key itself, or cannot be a variable's name."""
    drawn = len(name) >= 20 and re.search(r"[a-z]", name) and re.search(r"\d", name) and "_" not in name
    looks_drawn = drawn and name not in os.environ
    if looks_like_key(name) or looks_drawn:
        keep_secret(name)
        raise UsageError(
            f"{called} holds a key itself; expected the name of the environment variable that holds it, such as "
            "OPENAI_API_KEY. Export the key under a name, and keep it out of files."
        )
    if name.startswith("$"):
        raise UsageError(f"{called} is {name!r:.60}; expected the variable's name without the dollar sign.")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise UsageError(
            f"{called} is {name!r:.60}; expected the name of an environment variable, such as OPENAI_API_KEY."
        )


def key_in(variable: str) -> str | None:
    """The key that an environment variable holds, kept secret from now on; None where it holds none.

    Raises:
        UsageError: what it holds can be no key, and no header could carry it.
    """
    key = os.environ.get(variable)
    if not key:
        return None
    keep_secret(key, key.strip())
    what = None
    if key != key.strip():
        what = "begins or ends with white space or a line break"
    elif re.search(r"\s", key):
        what = "has white space in it" + (" (expected without 'Bearer')" if key.lower().startswith("bearer") else "")
    elif not key.isascii() or not key.isprintable():
        what = "has characters that are not plain ASCII"
    elif len(key) > 1 and key[0] == key[-1] and key[0] in "'\"":
        what = "stands in quotes"
    if what:
        raise UsageError(f"the key in the environment variable {variable} {what}; export it again as the key alone.")
    return key


def check_headers(
    headers: Mapping[Any, Any], key_env: str = "OPENAI_API_KEY", *, called: str = "extra_headers"
) -> None:
    """A UsageError for headers that no call can carry; values that may be keys are kept secret from now on."""
    seen = set()
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            shown = redacted(name) if isinstance(name, str) else name
            raise UsageError(f"{called} has {shown!r:.60} as {kind_of(value)}; expected text for text: quote it.")
        if CREDENTIAL.search(name) or looks_like_key(value) or looks_like_key(f"key: {value}"):
            keep_if_key(value)
            if len(value) >= 12 and re.search(r"(?:key|token|secret|password)$", name, re.IGNORECASE):
                keep_secret(value)
        shown = redacted(name)
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise UsageError(
                f"{called} has {shown!r:.60}, which cannot be a header's name; expected letters, digits and hyphens."
            )
        lower = name.lower()
        if lower == "authorization":
            raise UsageError(
                f"{called} has {name!r}, which is made of the key in the environment variable {key_env}; leave it out "
                "and export the key (or name its variable with api_key_env)."
            )
        if lower in _OWN:
            raise UsageError(f"{called} has {name!r}, which each call sets itself; leave it out.")
        if lower in seen:
            raise UsageError(f"{called} has {name!r} twice, in capitals and small letters; leave one out.")
        seen.add(lower)
        if not value.strip() or value != value.strip():
            what = "empty" if not value.strip() else "with white space around it"
            raise UsageError(f"{called} has {shown!r:.60} {what}; expected its value alone, or leave it out.")
        if not value.isascii() or not value.isprintable():
            raise UsageError(
                f"{called} has {shown!r:.60} with a line break or with characters that are not plain ASCII, which no "
                "header carries; expected plain text on one line."
            )
