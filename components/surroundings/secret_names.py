"""Which environment variables hold secrets, as far as their names tell.

The words are those of three kept lists: the keyword detector of detect-secrets, the deny list of Sentry's SDK
(`sentry_sdk.scrubber`), and what gitleaks calls a generic key. Those lists look for whole names, or anywhere in a text;
here the last word of a name decides, and a few words anywhere: `SSH_KEY_PATH`, `KEYBOARD`, `MONKEY`, `TOKEN_URL` and
`TOKENIZERS_PARALLELISM` are none.
"""

import re
from functools import lru_cache
from pathlib import Path

_SECRET = re.compile(
    "KEYS?|APIKEY|PASS(WD|WORDS?|CODE|PHRASE)?|PWD?|TOKENS?|PAT|JWT|BEARER|SECRETS?|CRED(ENTIAL)?S?|AUTH(ORIZATION)?|"
    "COOKIES?|WEBHOOKS?|SIGNATURE|SAS|DSN|SALT|[CX]SRF"
    # Words that are written together: GITHUBTOKEN, DBPASSWORD, DBPASS, SSHKEY; not BYPASS, COMPASS or HOTKEY.
    "|.+(PASSWORD|PASSWD|PASSPHRASE|TOKEN|SECRET|COOKIE|WEBHOOK)"
    "|.*(DB|PG|SQL|MONGO|REDIS|USER|ROOT|ADMIN|SUDO|SSH|FTP|SMTP|MAIL|LDAP|PROXY)(PASS|PWD?)"
    "|.*(API|ACCESS|SECRET|PRIV(ATE)?|SSH|GPG|SIGNING|ENC(RYPTION)?|MASTER|SERVICE|ACCOUNT|STORAGE|LICENSE)KEY"
)
_PHRASES = (("WEBHOOK", "URL"), ("CONNECTION", "STRING"), ("AUTH", "CONFIG"))
# By themselves, these are no names of secrets; PWD is the current folder.
_ALONE = re.compile("(OLD)?PWD|PASS|PAT|PW|KEYS?|AUTH|SALT|SAS|SIGNATURE")
# Those that say so wherever they stand in a name, such as TOKEN_GITHUB, unless the name ends in what it is about one.
_ANYWHERE = re.compile("PASSWORDS?|PASSWD|PASSPHRASE|TOKEN|SECRET|APIKEY|CREDENTIALS?")
_ABOUT = re.compile(
    "PATHS?|FILES?|FILENAME|DIR(ECTORY)?|FOLDER|UR[IL]S?|ENDPOINT|HOST(NAME)?|PORT|DOMAIN|REALM|ISSUER|AUDIENCE|SCOPES?|"
    "NAMES?|ID|ARN|USER(NAME)?|ACCOUNT|EMAIL|PROVIDER|STORE|MANAGER|BACKEND|CLASS|KIND|TYPE|FORMAT|ALGORITHM|METHOD|"
    "MODE|POLICY|VERSION|REGION|LENGTH|SIZE|LIMIT|BUDGET|COUNT|MAX|MIN|ROUNDS|TTL|EXP(IRY|IRES?|IRATION)?|AGE|LIFETIME|"
    "TIMEOUT|SECONDS|MINUTES|HOURS|DAYS|DATE|TIME|ENABLED?|DISABLED?|REQUIRED|PREFIX|SUFFIX|HEADER|FIELD|PROMPT|"
    "SEPARATOR|PARALLELISM"
)
# What stands behind the word that says so, to tell one secret from another: STRIPE_KEY_LIVE, HF_TOKEN_2.
_WHICH = re.compile(
    r"V?\d+|[A-Z]|OLD|NEW|PREVIOUS|CURRENT|NEXT|FIRST|SECOND|PRIMARY|SECONDARY|MAIN|BACKUP|REPLICA|PROD(UCTION)?|"
    "STAG(E|ING)|DEV(ELOPMENT)?|TEST|LIVE|SANDBOX|CI|LOCAL|GLOBAL|EU|US|UK|ASIA|APAC|EMEA|BASE|B(ASE)?64|HEX|JSON|PEM|"
    "RAW|VALUE|RO|RW|READ(ONLY)?|WRITE|ROOT|ADMIN"
)
# Keys that everybody may know; and names of two words that are keys of a table, a cache or a data set.
_OPEN = re.compile("PUB(LIC)?")
_OF_DATA = re.compile("CACHE|PRIMARY|FOREIGN|SORT|PARTITION|LABEL|FEATURE|GROUP|COLUMN|ROW|INDEX")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NO_SECRET = re.compile(
    "true|false|enabled|disabled|default|required|optional|unknown|always|basic|bearer", re.IGNORECASE
)


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Returns whether a variable of this name holds a secret."""
    words = [word for word in re.split(r"[^A-Z0-9]+", _CAMEL.sub("_", name).upper()) if word]
    while len(words) > 1 and _WHICH.fullmatch(words[-1]):
        words.pop()
    if not words:
        return False
    *before, last = [*words[:-1], words[-1].rstrip("0123456789")]
    if not before:
        return _SECRET.fullmatch(last) is not None and _ALONE.fullmatch(last) is None
    if last in ("KEY", "KEYS") and (
        _OPEN.fullmatch(before[-1]) or (len(before) == 1 and _OF_DATA.fullmatch(before[0]))
    ):
        return False
    if _SECRET.fullmatch(last) is not None or (before[-1], last) in _PHRASES:
        return True
    return any(map(_ANYWHERE.fullmatch, before)) and _ABOUT.fullmatch(last) is None


@lru_cache(maxsize=4096)
def may_be_secret(value: str) -> bool:
    """Returns whether a value is one that can be hidden: no word of every log, and no path of this machine."""
    if _NO_SECRET.fullmatch(value):
        return False
    try:
        return not (value.startswith(("/", "~", "./", "../")) and Path(value).expanduser().exists())
    except (OSError, RuntimeError, ValueError):  # too long for a path, or the home of an unknown user
        return True
