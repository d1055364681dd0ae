"""Finds what should not leave the machine in texts: addresses, numbers of people, secrets.

Each kind has a cheap pattern that a whole column is searched with, and an exact check for the
texts it finds: check digits, known prefixes and lengths, what stands around. What merely looks like
one (an order number, a date, a version) is left alone: where people cannot trust what is found,
they stop looking.
Does not know: columns, files, who sees the texts.
"""

from __future__ import annotations

import ipaddress
import math
import re
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

import polars as pl

from tunesmith.data.findings import Finding, counted, lines_phrase
from tunesmith.errors import pick

_AROUND = 24  # characters of an excerpt on either side


@dataclass(frozen=True)
class Kind:
    """One kind of sensitive data.

    suspect  pattern of Rust's regex crate that finds every text which may hold one.
    pattern  finds candidates; a group `value`, where there is one, is the part that is secret.
    check    whether a candidate is one.
    """

    name: str
    singular: str
    plural: str
    suspect: str
    pattern: re.Pattern[str]
    check: Callable[[re.Match[str]], bool]

    @property
    def mark(self) -> str:
        """What is put in its place."""
        return f"[{self.name.upper()}]"


@dataclass(frozen=True, slots=True)
class Span:
    """Where in a text something of a kind stands."""

    kind: str
    start: int
    end: int


# --- secrets -------------------------------------------------------------------------------------

_ISSUED = (
    r"sk-[A-Za-z0-9_-]{20,}|[sr]k_live_[A-Za-z0-9]{16,}|(?:AKIA|ASIA)[0-9A-Z]{16}"
    r"|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}|glpat-[A-Za-z0-9_-]{20,}"
    r"|hf_[A-Za-z0-9]{30,}|xox[abprs]-[A-Za-z0-9-]{10,}|AIza[A-Za-z0-9_-]{35}"
    r"|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*"  # a JSON web token
)
_NAMED = (
    "(?:passwor[dt]|passwd|passphrase|pwd|api[_ -]?key|secret[_ -]?key|client[_ -]?secret"
    "|(?:access|auth|bearer)[_ -]?token|secret|token)"
)
_SECRET = re.compile(
    r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----(?:[A-Za-z0-9+/=\s:,]|-(?!-))*+"
    r"(?:-----END (?:[A-Z]+ )*PRIVATE KEY-----)?"
    rf"|(?<![A-Za-z0-9_-])(?:{_ISSUED})(?![A-Za-z0-9_-])"
    rf"|(?i:{_NAMED})[\"']?\s{{0,3}}(?:[:=]|\bis\b)\s{{0,3}}[\"']?"
    r"(?P<value>[^\s\"'`,;<>()\[\]{}]{8,}(?<![.:?]))"
)


def _is_secret(found: re.Match[str]) -> bool:
    """Keys look drawn by lot; a password is told from a word or number by what it is made of."""
    value = found["value"]
    if value is None:
        key = found[0]
        return key.startswith("-----") or (_bits(key) > 3 and any(map(str.isdigit, key)))
    if "://" in value or not any(map(str.isdigit, value)):
        return False
    kinds = (str.islower, str.isupper, str.isdigit, lambda c: not (c.isalnum() or c in "-_./"))
    used = sum(any(map(kind, value.rstrip("!"))) for kind in kinds)
    is_long = len(value) >= 16 and sum(map(str.isdigit, value)) >= 3
    return _bits(value) >= 2.5 and used >= (2 if is_long else 3)


def _bits(text: str) -> float:
    """Shannon's entropy of the characters, in bits per character."""
    shares = [number / len(text) for number in Counter(text).values()]
    return -sum(share * math.log2(share) for share in shares)


# --- e-mail and IP addresses ---------------------------------------------------------------------

_EMAIL = re.compile(
    r"(?<![\w.+%-])\w[\w.+%-]{0,63}(?<!\.)@"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+(?P<top>[A-Za-z]{2,24})(?![\w@-])"
)
_FILE_ENDINGS = frozenset(("png", "jpg", "jpeg", "gif", "svg", "webp", "html", "js"))
_IP = re.compile(
    r"(?<![\w.])(?P<v4>(?:[0-9]{1,3}\.){3}[0-9]{1,3})(?!\w|\.[0-9]|-[A-Za-z])"
    r"|(?<![\w:.])(?P<v6>(?:[23][0-9A-Fa-f]{3}|[fF](?:[cCdD][0-9A-Fa-f]{2}|[eE]80)):"
    r"(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{0,4})(?![\w:])"
)
_VERSION = re.compile(
    r"(?:\b(?:v|ver|version|release|build|update|patch|firmware|driver|section|chapter|oid|sdk|api"
    r"|android|chrome|firefox|ios|java|macos|node|php|python|safari|windows)[ .:]*|[A-Za-z]/)$",
    re.IGNORECASE,
)
_SINGLE_DIGITS = frozenset(("1.1.1.1", "8.8.8.8", "8.8.4.4", "9.9.9.9"))  # public name servers


def _is_email(found: re.Match[str]) -> bool:
    is_remote = found.string[found.end() : found.end() + 1] == ":" and found[0].startswith("git@")
    top = found["top"]  # in title case it begins the next sentence: at kiosk.Valid until
    is_domain = top.lower() not in _FILE_ENDINGS and not top.istitle()
    return is_domain and ".." not in found[0] and not is_remote


def _is_ip(found: re.Match[str]) -> bool:
    """Addresses of machines; not this machine's own, nets, masks, versions or section numbers."""
    try:
        address = ipaddress.ip_address(found[0])
    except ValueError:
        return False
    if address.version == 6:
        return not address.is_multicast
    parts = found[0].split(".")
    if address.is_loopback or parts[0] in ("0", "255") or parts[2:] == ["0", "0"]:
        return False
    if max(map(len, parts)) == 1 and found[0] not in _SINGLE_DIGITS:
        return False
    return not _VERSION.search(found.string, max(0, found.start() - 20), found.start())


# --- bank accounts and cards ---------------------------------------------------------------------

# Countries with the length of their IBANs. Source: the IBAN registry (SWIFT, ISO 13616).
_IBANS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28"
    " EE20 EG29 ES24 FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26"
    " IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MR27 MT31 MU30"
    " NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 SI19 SK24 SM27 ST25 SV28 TL23"
    " TN24 TR26 UA29 VA22 VG24 XK20"
)
_IBAN = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    + "|".join(rf"{i[:2]}[0-9]{{2}}(?:[ -]?[0-9A-Z]){{{int(i[2:]) - 4}}}" for i in _IBANS.split())
    + r")(?![A-Za-z0-9])"
)
_CARD = re.compile(
    r"(?<![\w.,+-])(?:[0-9]{4}(?P<sign>[ -])[0-9]{4}(?P=sign)[0-9]{4}(?P=sign)[0-9]{4}"
    r"|[0-9]{4}(?P<other>[ -])[0-9]{6}(?P=other)[0-9]{4,5}|[0-9]{13,19})(?!\w|[.,-][0-9])"
)
# First digits → lengths. Source: ISO/IEC 7812 and the issuers' published ranges.
_CARD_PREFIXES = (
    (re.compile("4"), (16, 19)),  # Visa
    (re.compile("5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),  # Mastercard
    (re.compile("3[47]"), (15,)),  # American Express
    (re.compile("6011|64[4-9]|65|62|352[89]|35[3-8]"), (16, 19)),  # Discover, UnionPay, JCB
    (re.compile("30[0-5]|36|38|39"), (14,)),  # Diners Club
    (re.compile("5018|5020|5038|5893|6304|6759|676[1-3]"), (15, 16, 18, 19)),  # Maestro
)


def _is_iban(found: re.Match[str]) -> bool:
    """ISO 13616: moved to the end and read as numbers, country and check digits leave 1 by 97."""
    plain = re.sub("[ -]", "", found[0])
    return int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def _is_card(found: re.Match[str]) -> bool:
    digits = re.sub("[ -]", "", found[0])
    known = any(p.match(digits) and len(digits) in lengths for p, lengths in _CARD_PREFIXES)
    return known and _luhn(digits)


def _luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B: every second digit from the right doubled, the sum ends in 0."""
    doubled = (sum(divmod(2 * int(d), 10)) for d in digits[-2::-2])
    return (sum(doubled) + sum(map(int, digits[::-2]))) % 10 == 0


# --- phone numbers -------------------------------------------------------------------------------

_PHONE = re.compile(
    r"(?<![\w+.,/#-])(?:"
    r"(?P<abroad>(?:\+|00)[1-9](?:[ .\-/]?(?:\(0?\)[ ]?|\()?[0-9]\)?){7,14})"
    r"|(?P<american>(?:1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[.-])[2-9][0-9]{2}[ .-][0-9]{4})"
    r"|(?P<french>0[1-9](?P<sign>[ .-])[0-9]{2}(?:(?P=sign)[0-9]{2}){3})"
    r"|(?P<grouped>\(?0[1-9][0-9]{1,3}\)?[ /-] ?[0-9]{3,8}"
    r"(?:[ -](?:[0-9]{2}[ -][0-9]{2}|[0-9]{3,5})){0,2}"
    r"|0[1-9][ -][0-9]{7,8}|\(0[1-9]\) ?[0-9]{4} ?[0-9]{4})"
    r"|(?P<solid>0[1-9][0-9]{8,9}|[1-9][0-9]{9})"
    r")(?!\w|[.,:/-][0-9])"
)
_CALLED = re.compile(
    r"\b(?:call|ring|dial|phone|tel|telephone|mobile|mob|cell|fax|te?xt|sms|whatsapp|landline)"
    r"\W{1,3}(?:[A-Za-z]{1,8}\W{1,2}){0,3}$",
    re.IGNORECASE,
)
_NUMBERED = re.compile(
    r"(?:\b(?:order|invoice|ref|reference|case|ticket|tracking|account|acct|id|serial|item|part|sku"
    r"|article|contract|policy|booking|transaction|parcel|code|po|bestellung|rechnung)\b"
    r"[^.!?\n]{0,16}|#|№)$",
    re.IGNORECASE,
)


def _is_phone(found: re.Match[str]) -> bool:
    """By the usual lengths and the North American plan; in doubt by the words before it."""
    digits = re.sub("[^0-9]", "", found[0].replace("(0)", ""))
    if "00000" in digits or len(set(digits)) < 3:
        return False
    if found["abroad"]:
        number = digits.removeprefix("00")
        if number.startswith("1"):
            return len(number) == 11 and number[1] > "1" and number[4] > "1"
        return 9 <= len(number) <= 13
    before = found.string[max(0, found.start() - 40) : found.start()]
    called, numbered = _CALLED.search(before), _NUMBERED.search(before)
    if numbered and not (called and called.start() > numbered.start()):
        return False
    if found["solid"]:  # eleven digits from 07 to 09 are a number where people write them so
        return called is not None or (len(digits) == 11 and digits[0] == "0" and digits[1] in "789")
    return bool(found["american"] or found["french"]) or 9 <= len(digits) <= 12


# --- the table, first come, first served ---------------------------------------------------------

_EVERY = (
    Kind(
        "secret", "a key or password", "keys or passwords",
        r"sk-|k_live_|AKIA|ASIA|gh[pousr]_|github_pat_|glpat-|hf_|xox[abprs]-|AIza|eyJ"
        rf"|PRIVATE KEY|(?i:{_NAMED})[\"']?\s{{0,3}}(?:[:=]|is\s)",
        _SECRET, _is_secret,
    ),
    Kind("email", "an e-mail address", "e-mail addresses", r"\S@[0-9A-Za-z]", _EMAIL, _is_email),
    Kind("iban", "an IBAN", "IBANs", "[A-Z]{2}[0-9]{2}[ -]?[0-9A-Z]", _IBAN, _is_iban),
    Kind("card", "a payment card", "payment cards", "[0-9](?:[ -]?[0-9]){12}", _CARD, _is_card),
    Kind(
        "ip", "an IP address", "IP addresses",
        r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|[23fF][0-9A-Fa-f]{3}:[0-9A-Fa-f:]",
        _IP, _is_ip,
    ),
    Kind(
        "phone", "a phone number", "phone numbers", r"[0-9](?:[ ().\-/]{0,3}[0-9]){8}",
        _PHONE, _is_phone,
    ),
)  # fmt: skip
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _EVERY}
"""Every kind. What belongs to an earlier one is not looked at for the later ones."""


def find(text: str) -> list[Span]:
    """All that is sensitive in a text, in the order of the text; spans do not overlap."""
    return _spans(text, _EVERY)


@dataclass(kw_only=True)
class Held:
    """The texts that hold one kind of sensitive data."""

    lines: list[int]
    example: str
    """How the first one reads, veiled."""


def held(texts: pl.Series, lines: pl.Series) -> dict[str, Held]:
    """Kind → what is held of it, for the kinds that are there. `lines`: the line of each text."""
    holders = _holders(texts, _EVERY)
    return {
        name: Held(
            lines=[int(lines[row]) for row in rows],
            example=_excerpt(texts[rows[0]], holders[rows[0]].spans, name),
        )
        for name, rows in _rows(holders).items()
        if rows
    }


def findings(found: Mapping[str, Held]) -> list[Finding]:
    """A warning for each kind that is there: how many texts, where, how the first one reads."""
    told = []
    for name, here in found.items():
        kind, number = KINDS[name], counted(len(here.lines), "text")
        holds = f"holds {kind.singular}" if len(here.lines) == 1 else f"hold {kind.plural}"
        what = f"{number} {holds}: {lines_phrase(here.lines)}, such as {here.example!r}."
        fix = f"Mask them with --mask {','.join(found)}."
        told.append(Finding("warning", here.lines[0], what, fix))
    return told


def mask_text(text: str, kinds: Sequence[str]) -> str:
    """`text` with `[EMAIL]` and the like in place of what is of these kinds."""
    return _masked(text, kinds, _EVERY)


def mask(texts: pl.Series, kinds: Sequence[str]) -> tuple[pl.Series, dict[str, int]]:
    """`mask_text` over a column, and how many texts held each kind (`texts`: any of them).

    Takes and returns a String series of one length; nulls stay null.
    Raises: ConfigError for an unknown kind, with the nearest one.
    """
    holders = _holders(texts, [pick(KINDS, name, "kind of sensitive data") for name in kinds])
    rows = _rows(holders)
    counts = {"texts": len(holders), **{name: len(rows[name]) for name in kinds}}
    if not holders:
        return texts, counts
    found = zip(texts.gather(list(holders)), holders.values(), strict=True)
    masked = pl.Series([_masked(text, kinds, held.suspected) for text, held in found])
    return texts.clone().scatter(list(holders), masked), counts


@dataclass(frozen=True, slots=True)
class _Holder:
    """What is known of a text that holds something: the kinds it may hold, and what it does."""

    suspected: Sequence[Kind]
    spans: list[Span]


def _holders(texts: pl.Series, kinds: Sequence[Kind]) -> dict[int, _Holder]:
    """By row, the texts that hold one of `kinds`; their spans are of every kind."""
    if not kinds:
        return {}
    suspects = texts.str.contains("|".join(kind.suspect for kind in kinds)).fill_null(False)
    rows = suspects.arg_true()
    few = texts.gather(rows)
    suspected = zip(*(few.str.contains(kind.suspect) for kind in _EVERY), strict=True)
    wanted, holders = {kind.name for kind in kinds}, {}
    for row, text, may_be in zip(rows, few, suspected, strict=True):
        looked_for = tuple(compress(_EVERY, may_be))
        spans = _spans(text, looked_for)
        if any(span.kind in wanted for span in spans):
            holders[row] = _Holder(looked_for, spans)
    return holders


def _rows(holders: Mapping[int, _Holder]) -> dict[str, list[int]]:
    """Kind → the rows that hold it, for every kind."""
    rows: dict[str, list[int]] = {name: [] for name in KINDS}
    for row, holder in holders.items():
        for name in {span.kind for span in holder.spans}:
            rows[name].append(row)
    return rows


def _spans(text: str, kinds: Sequence[Kind]) -> list[Span]:
    spans: list[Span] = []
    for kind in kinds:
        part = "value" if "value" in kind.pattern.groupindex else 0
        for found in kind.pattern.finditer(text):
            start, end = found.span(part if found[part] else 0)
            place = bisect(spans, start, key=lambda span: span.start)
            is_free = (not place or spans[place - 1].end <= start) and (
                place == len(spans) or end <= spans[place].start
            )
            if is_free and kind.check(found):
                spans.insert(place, Span(kind.name, start, end))
    return spans


def _masked(text: str, names: Sequence[str], kinds: Sequence[Kind]) -> str:
    """The text without what is called `names`; `kinds` are those that it may hold.

    A mark may be what a neighbour needed to be seen, so this goes on until nothing is left. No
    pattern reaches over a bracket, so nothing is masked twice.
    """
    while spans := [span for span in _spans(text, kinds) if span.kind in names]:
        starts, ends = (0, *(span.end for span in spans)), (*(span.start for span in spans), None)
        between = [text[start:end] for start, end in zip(starts, ends, strict=True)]
        marks = [*(KINDS[span.kind].mark for span in spans), ""]
        text = "".join(a + b for a, b in zip(between, marks, strict=True))
    return text


def _excerpt(text: str, spans: Sequence[Span], name: str) -> str:
    """What stands around the first one of that kind, with every span veiled."""
    parts, at = [], 0
    for span in spans:
        parts += [text[at : span.start], _veiled(text[span.start : span.end])]
        at = span.end
    parts.append(text[at:])
    place = 2 * [span.kind for span in spans].index(name) + 1
    before, after = "".join(parts[:place]), "".join(parts[place + 1 :])
    return " ".join((before[-_AROUND:] + parts[place] + after[:_AROUND]).split())


def _veiled(value: str) -> str:
    """An eighth of it, at most three characters, and the sign that more is hidden."""
    return value[: min(3, max(1, len(value) // 8))] + "…"
