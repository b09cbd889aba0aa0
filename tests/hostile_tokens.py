"""Tokens that must be refused: by what was done to JWTs before, in attacks, in advisories and by accident."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from functools import partial

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from issuer import AUDIENCE, Issuer, encode

NOW = time.time()


def pem(issuer: Issuer) -> bytes:
    public = issuer.private["rsa"][1].public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def der(issuer: Issuer) -> bytes:
    public = issuer.private["rsa"][1].public_key()
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def with_secret(issuer: Issuer, secret: bytes, algorithm: str = "HS256", **headers: object) -> str:
    """Sign with a secret that an attacker knows."""
    header = {"alg": algorithm, "kid": "rsa", "typ": "at+jwt"} | headers
    signed = f"{encode(header)}.{encode(issuer.claims())}"
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[algorithm]
    return f"{signed}.{encode(hmac.new(secret, signed.encode(), digest).digest())}"


def unsigned(issuer: Issuer, algorithm: str, signature: str = "") -> str:
    return f"{encode({'alg': algorithm, 'kid': 'rsa', 'typ': 'at+jwt'})}.{encode(issuer.claims())}.{signature}"


def parts(token: str) -> list[str]:
    return token.split(".")


def own_key(issuer: Issuer, name: str, value: object) -> str:
    """Sign with a key of the attacker's, which the header brings along."""
    attacker = Issuer(issuer.url)
    attacker.add_key("rsa", "RS256")
    given = attacker.public_key("rsa") if value == "jwk" else value
    header = json.dumps({"alg": "RS256", "kid": "rsa", "typ": "at+jwt", name: given})
    return attacker.sign_text("rsa", header, json.dumps(issuer.claims()))


def flip(issuer: Issuer, part: int, at: int) -> str:
    changed = parts(issuer.sign())
    data = bytearray(base64.urlsafe_b64decode(changed[part] + "=="))
    data[at] ^= 1
    changed[part] = encode(bytes(data))
    return ".".join(changed)


def raw(issuer: Issuer, header: str | None = None, claims: str | None = None) -> str:
    good = json.dumps({"alg": "RS256", "kid": "rsa", "typ": "at+jwt"})
    return issuer.sign_text("rsa", good if header is None else header, claims or json.dumps(issuer.claims()))


def embedded(issuer: Issuer, claims: str) -> str:
    """Put text into otherwise good claims."""
    return raw(issuer, claims=json.dumps(issuer.claims())[:-1] + claims + "}")


def zero_ecdsa(issuer: Issuer) -> str:
    """Sign with r = s = 0 (CVE-2022-21449)."""
    header = {"alg": "ES256", "kid": "ec", "typ": "at+jwt"}
    return f"{encode(header)}.{encode(issuer.claims())}.{encode(bytes(64))}"


def der_ecdsa(issuer: Issuer) -> str:
    header = {"alg": "ES256", "kid": "ec", "typ": "at+jwt"}
    signed = f"{encode(header)}.{encode(issuer.claims())}"
    key = issuer.private["ec"][1]
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return f"{signed}.{encode(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))}"


def stray_bits(token: str) -> str:
    """Change bits of the last character that encode nothing."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]


Make = Callable[[Issuer], str]
HOSTILE: dict[str, Make] = {
    # no signature
    **{f"alg {name!r}": partial(unsigned, algorithm=name) for name in ("none", "None", "NONE", "nOnE", "")},
    **{f"alg {name!r}, signed": partial(unsigned, algorithm=name, signature="AAAA") for name in ("none", "NONE")},
    "alg missing": lambda i: raw(i, '{"kid": "rsa", "typ": "at+jwt"}'),
    "alg null": lambda i: raw(i, '{"alg": null, "kid": "rsa", "typ": "at+jwt"}'),
    "alg a list": lambda i: raw(i, '{"alg": ["RS256"], "kid": "rsa", "typ": "at+jwt"}'),
    "alg in lower case": lambda i: raw(i, '{"alg": "rs256", "kid": "rsa", "typ": "at+jwt"}'),
    "alg with a space": lambda i: raw(i, '{"alg": "RS256 ", "kid": "rsa", "typ": "at+jwt"}'),
    "signature removed": lambda i: i.sign().rpartition(".")[0] + ".",
    "signature and its dot removed": lambda i: i.sign().rpartition(".")[0],
    "signature of another token": lambda i: ".".join([*parts(i.sign(sub="eve"))[:2], parts(i.sign())[2]]),
    # confusion of algorithms and keys
    "HS256 with the public key as PEM": lambda i: with_secret(i, pem(i)),
    "HS256 with the public key as PEM, stripped": lambda i: with_secret(i, pem(i).strip()),
    "HS256 with the public key as DER": lambda i: with_secret(i, der(i)),
    "HS256 with the public key as JWK": lambda i: with_secret(i, json.dumps(i.public_key("rsa")).encode()),
    "HS256 with the modulus": lambda i: with_secret(i, i.public_key("rsa")["n"].encode()),
    "HS384 with the public key": lambda i: with_secret(i, pem(i), "HS384"),
    "HS512 with the public key": lambda i: with_secret(i, pem(i), "HS512"),
    "HS256 with an empty secret": lambda i: with_secret(i, b""),
    "HS256 with the key's name": lambda i: with_secret(i, b"rsa"),
    "RS256 under the name of PS256's key": lambda i: i.sign("rsa", {"kid": "pss"}),
    "PS256 under the name of RS256's key": lambda i: i.sign("pss", {"kid": "rsa"}),
    "RS256 declared as PS256": lambda i: i.sign("rsa", {"alg": "PS256"}),
    "RS256 declared as ES256": lambda i: i.sign("rsa", {"alg": "ES256", "kid": "ec"}),
    "ES256 declared as EdDSA": lambda i: i.sign("ec", {"alg": "EdDSA", "kid": "ed"}),
    "RS384": lambda i: i.sign("rsa", {"alg": "RS384"}),
    "ES384": lambda i: i.sign("ec", {"alg": "ES384"}),
    "ES256 with zeros": zero_ecdsa,
    "ES256 in DER": der_ecdsa,
    # keys that come along
    "jwk": lambda i: own_key(i, "jwk", "jwk"),
    "jku to a canary": lambda i: own_key(i, "jku", f"{i.url}/canary"),
    "jku of the issuer": lambda i: own_key(i, "jku", f"{i.url}/keys"),
    "x5u to a canary": lambda i: own_key(i, "x5u", f"{i.url}/canary"),
    "x5c": lambda i: own_key(i, "x5c", ["MIIB"]),
    "a foreign key under a known name": lambda i: own_key(i, "x", 1),
    "a good token with jwk": lambda i: i.sign(headers={"jwk": i.public_key("rsa")}),
    "a good token with jku": lambda i: i.sign(headers={"jku": f"{i.url}/keys"}),
    "a good token with x5u": lambda i: i.sign(headers={"x5u": f"{i.url}/canary"}),
    "a good token with x5c": lambda i: i.sign(headers={"x5c": []}),
    # names of keys
    "kid a path": lambda i: i.sign(headers={"kid": "../../../dev/null"}),
    "kid SQL": lambda i: i.sign(headers={"kid": "rsa' OR '1'='1"}),
    "kid with NUL": lambda i: i.sign(headers={"kid": "rsa\x00"}),
    "kid a shell command": lambda i: i.sign(headers={"kid": "|/usr/bin/id"}),
    "kid of 5 KB": lambda i: i.sign(headers={"kid": "k" * 5000}),
    "kid of 10 KB": lambda i: i.sign(headers={"kid": "k" * 10000}),
    "kid missing": lambda i: i.sign(headers={"kid": None}),
    "kid empty": lambda i: i.sign(headers={"kid": ""}),
    "kid a number": lambda i: i.sign(headers={"kid": 1}),
    "kid a list": lambda i: i.sign(headers={"kid": ["rsa"]}),
    "kid a URL": lambda i: i.sign(headers={"kid": f"{i.url}/canary"}),
    "kid in other case": lambda i: i.sign(headers={"kid": "RSA"}),
    # extensions
    "crit unknown": lambda i: i.sign(headers={"crit": ["exp"], "exp": 1}),
    "crit empty": lambda i: i.sign(headers={"crit": []}),
    "b64 false": lambda i: i.sign(headers={"b64": False, "crit": ["b64"]}),
    "b64 false, not critical": lambda i: i.sign(headers={"b64": False}),
    "b64 true": lambda i: i.sign(headers={"b64": True}),
    "compressed": lambda i: i.sign(headers={"zip": "DEF"}),
    "nested": lambda i: raw(i, '{"alg": "RS256", "kid": "rsa", "typ": "at+jwt", "cty": "JWT"}', encode(i.sign())),
    "encrypted": lambda _: ".".join(
        [encode({"alg": "dir", "enc": "A256GCM", "kid": "rsa"}), "", "AAAA", "AAAA", "AAAA"]
    ),
    "enc in a signed token": lambda i: i.sign(headers={"enc": "A256GCM"}),
    "PBES2 with many rounds": lambda i: i.sign(headers={"p2c": 2**31, "p2s": "AAAA"}),
    # types
    "an ID token": lambda i: i.sign(headers={"typ": "JWT"}, nonce="n", aud="a-web-app"),
    "typ JWT where at+jwt is due": lambda i: i.sign(headers={"typ": "JWT"}),
    "typ missing": lambda i: i.sign(headers={"typ": None}),
    "typ of a logout token": lambda i: i.sign(headers={"typ": "logout+jwt"}),
    "typ of a DPoP proof": lambda i: i.sign(headers={"typ": "dpop+jwt"}),
    "typ a number": lambda i: i.sign(headers={"typ": 1}),
    # times
    "expired": lambda i: i.sign(exp=int(NOW) - 3600),
    "expired by 31 s": lambda i: i.sign(exp=time.time() - 31),
    "expires in 10 years": lambda i: i.sign(exp=int(NOW) + 10 * 365 * 86400),
    "expires in 25 hours": lambda i: i.sign(exp=int(NOW) + 25 * 3600),
    "no exp": lambda i: i.sign(exp=None),
    "exp as text": lambda i: i.sign(exp=f"{int(NOW) + 300}"),
    "exp true": lambda i: i.sign(exp=True),
    "exp null": lambda i: raw(i, claims=json.dumps(i.claims(exp=0)).replace('"exp": 0', '"exp": null')),
    "nbf null": lambda i: embedded(i, ', "nbf": null'),
    "exp a list": lambda i: i.sign(exp=[int(NOW) + 300]),
    "exp infinite": lambda i: raw(i, claims=json.dumps(i.claims(exp=0)).replace('"exp": 0', '"exp": 1e999')),
    "exp NaN": lambda i: i.sign(exp=float("nan")),
    "exp of 5,000 digits": lambda i: raw(
        i, claims=json.dumps(i.claims(exp=0)).replace('"exp": 0', '"exp": ' + "9" * 4999)
    ),
    "exp negative": lambda i: i.sign(exp=-1),
    "valid in 60 s": lambda i: i.sign(nbf=time.time() + 60),
    "issued in 60 s": lambda i: i.sign(iat=time.time() + 60),
    "iat as text": lambda i: i.sign(iat="now"),
    # whom it is for, who made it, who it is about
    "another audience": lambda i: i.sign(aud="other"),
    "audience in other case": lambda i: i.sign(aud=AUDIENCE.upper()),
    "audience a part of ours": lambda i: i.sign(aud=AUDIENCE[:-1]),
    "audience that begins with ours": lambda i: i.sign(aud=AUDIENCE + ".example.com"),
    "audience missing": lambda i: i.sign(aud=None),
    "audience empty": lambda i: i.sign(aud=""),
    "audiences empty": lambda i: i.sign(aud=[]),
    "audience an object": lambda i: i.sign(aud={AUDIENCE: 1}),
    "audiences with a number": lambda i: i.sign(aud=[AUDIENCE, 1]),
    "audiences nested": lambda i: i.sign(aud=[[AUDIENCE]]),
    "another issuer": lambda i: i.sign(iss="https://evil.example"),
    "issuer with a slash": lambda i: i.sign(iss=i.url + "/"),
    "issuer in other case": lambda i: i.sign(iss=i.url.upper()),
    "issuer with a user": lambda i: i.sign(iss=i.url.replace("://", "://a@")),
    "issuer missing": lambda i: i.sign(iss=None),
    "issuer a list": lambda i: i.sign(iss=[i.url]),
    "subject missing": lambda i: i.sign(sub=None),
    "subject empty": lambda i: i.sign(sub=""),
    "subject a number": lambda i: i.sign(sub=1),
    "subject with a line break": lambda i: i.sign(sub="alice\nadmin"),
    "subject with half a character": lambda i: i.sign(sub="\ud800"),
    "subject of 256 characters": lambda i: i.sign(sub="x" * 256),
    "client_id a number": lambda i: i.sign(sub=None, client_id=1),
    # JSON
    "a name twice, in the header": lambda i: raw(i, '{"alg": "none", "alg": "RS256", "kid": "rsa", "typ": "at+jwt"}'),
    "a name twice, in the claims": lambda i: embedded(i, ', "sub": "eve"'),
    "a name twice, deep in the claims": lambda i: embedded(i, ', "x": {"y": 1, "y": 2}'),
    "claims a list": lambda i: raw(i, claims="[]"),
    "claims null": lambda i: raw(i, claims="null"),
    "header a text": lambda i: raw(i, '"RS256"'),
    "header empty": lambda i: raw(i, "{}"),
    "claims nested 2,000 deep": lambda i: embedded(i, ', "x": ' + "[" * 2000 + "]" * 2000),
    "not UTF-8": lambda i: i.sign_text("rsa", b'{"alg": "RS256", "kid": "rsa", "typ": "at+jwt"}', b'{"sub": "\xff"}'),
    "UTF-16": lambda i: i.sign_text(
        "rsa", '{"alg": "RS256", "kid": "rsa", "typ": "at+jwt"}', json.dumps(i.claims()).encode("utf-16")
    ),
    "a byte order mark": lambda i: i.sign_text(
        "rsa", '{"alg": "RS256", "kid": "rsa", "typ": "at+jwt"}', b"\xef\xbb\xbf" + json.dumps(i.claims()).encode()
    ),
    "a comment in JSON": lambda i: embedded(i, " /* x */"),
    "text after JSON": lambda i: raw(i, claims=json.dumps(i.claims()) + " {}"),
    # form
    "empty": lambda _: ".",
    "two dots": lambda _: "..",
    "one part": lambda _: "abc",
    "four parts": lambda i: i.sign() + ".AAAA",
    "JSON serialization": lambda i: json.dumps(
        dict(zip(("protected", "payload", "signature"), parts(i.sign()), strict=True))
    ),
    "9 KB": lambda i: i.sign(pad="x" * 9000),
    "padding": lambda i: i.sign() + "==",
    "a space inside": lambda i: i.sign().replace(".", ". ", 1),
    "two tokens": lambda i: f"{i.sign()},{i.sign()}",
    "two tokens with a scheme": lambda i: f"{i.sign()},Bearer {i.sign()}",
    "standard base64": lambda i: i.sign()[:-4] + "+/+/",
    "an é": lambda i: i.sign() + "é",
    "full-width letters": lambda i: i.sign().replace("e", "ｅ", 1),
    "another last character": lambda i: stray_bits(i.sign("ed")),
    **{f"bit {at} of part {part}": partial(flip, part=part, at=at) for part in range(3) for at in (0, 10, -1)},
    "opaque": lambda _: "2YotnFZFEjr1zCsicMWpAA",
    "an API key": lambda _: "imgp_4tR9kQ2mZx_" + "a" * 43 + "_aaaaaa",
    "PASETO": lambda _: "v4.public.AAAA",
}
