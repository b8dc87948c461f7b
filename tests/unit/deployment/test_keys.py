"""Keys and certificates are created, renewed, or rejected."""

import ipaddress
import shutil
import ssl
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key

from blossomtune.deployment import keys
from blossomtune.deployment.certificates import CA_VALIDITY_DAYS, SUPERLINK_VALIDITY_DAYS
from blossomtune.deployment.keys import KeyStore
from blossomtune.errors import UserError

HOSTS = ["127.0.0.1", "link.example"]


@pytest.fixture
def store(tmp_path):
    store = KeyStore(tmp_path / "keys")
    store.create_missing(HOSTS, clients=range(2))
    return store


def certificate(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_only_the_owner_can_read_keys(store):
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in store.folder.iterdir()} == {0o600}
    assert len(list(store.folder.iterdir())) == 4 + 2 * 2


def test_certificate_is_valid_for_its_hosts(store):
    superlink = certificate(store.superlink_certificate)
    superlink.verify_directly_issued_by(certificate(store.ca_certificate))
    names = superlink.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["link.example"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]
    context = ssl.create_default_context(cafile=store.ca_certificate)
    context.load_cert_chain(store.superlink_certificate, store.superlink_key)


def test_supernode_has_a_key_pair_of_a_supported_curve(store):
    private = load_ssh_private_key(store.supernode_key(1).read_bytes(), None)
    public = load_ssh_public_key(store.supernode_public_key(1).read_bytes())
    assert isinstance(private.curve, ec.SECP384R1)
    assert private.public_key() == public
    assert public != load_ssh_public_key(store.supernode_public_key(0).read_bytes())


def test_key_of_one_client_is_replaced_or_revoked(store):
    before = {path: path.read_bytes() for path in store.folder.iterdir()}
    store.replace_supernode_key(1)
    changed = {path for path, content in before.items() if path.read_bytes() != content}
    assert changed == {store.supernode_key(1), store.supernode_public_key(1)}
    store.revoke_supernode_key(1)
    assert set(store.folder.iterdir()) == before.keys() - changed


@pytest.mark.parametrize("change", ["replace_supernode_key", "revoke_supernode_key"])
def test_client_without_a_key_is_an_error_that_names_those_with_keys(store, change):
    with pytest.raises(UserError, match=r"'south' has no key in .*\n  hint: .* keys: 0, 1$"):
        getattr(store, change)("south")


def test_only_missing_keys_are_created(store):
    assert store.create_missing(HOSTS, clients=range(2)) == []
    assert store.create_missing(["link.example"], clients=range(2)) == []
    assert store.create_missing(HOSTS, clients=range(3)) == ["supernode_2.key", "supernode_2.pub"]


def test_another_host_renews_only_the_certificate(store):
    assert store.create_missing([*HOSTS, "other.example"], clients=range(2)) == [
        "superlink.crt",
        "superlink.key",
    ]


def test_certificates_are_renewed_before_they_expire(store, monkeypatch):
    def create_missing_after(days):
        class Clock(datetime):
            @classmethod
            def now(cls, tz=None):
                return datetime.now(tz) + timedelta(days=days)

        monkeypatch.setattr(keys, "datetime", Clock)
        return store.create_missing(HOSTS, clients=range(2))

    until = certificate(store.superlink_certificate).not_valid_after_utc - datetime.now(UTC)
    assert until.days == SUPERLINK_VALIDITY_DAYS - 1
    assert create_missing_after(SUPERLINK_VALIDITY_DAYS - keys.RENEW_BEFORE.days - 1) == []
    assert create_missing_after(SUPERLINK_VALIDITY_DAYS - keys.RENEW_BEFORE.days + 1) == [
        "superlink.crt",
        "superlink.key",
    ]
    renewed = create_missing_after(CA_VALIDITY_DAYS)
    assert renewed == ["ca.crt", "ca.key", "superlink.crt", "superlink.key"]


def test_lost_public_key_is_replaced(store):
    store.supernode_public_key(0).unlink()
    assert store.create_missing(HOSTS, clients=range(2)) == ["supernode_0.key", "supernode_0.pub"]


def test_client_may_keep_its_private_key(store, tmp_path):
    """The key pair is from OpenSSH, and nothing is created for such a client."""
    command = ["ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-N", "", "-f", tmp_path / "own.key"]
    subprocess.run(command, check=True)
    shutil.copy(tmp_path / "own.key.pub", store.supernode_public_key("north"))
    assert store.create_missing(HOSTS, clients=["north"]) == []
    assert not store.supernode_key("north").exists()
    private = load_ssh_private_key((tmp_path / "own.key").read_bytes(), None)
    assert private.public_key() == load_ssh_public_key(
        store.supernode_public_key("north").read_bytes()
    )


@pytest.mark.parametrize("kind", ["ed25519", "nonsense"])
def test_unsupported_key_is_rejected(store, tmp_path, kind):
    store.supernode_public_key("north").write_text("nonsense")
    if kind != "nonsense":
        command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", tmp_path / "own.key"]
        subprocess.run(command, check=True)
        shutil.copy(tmp_path / "own.key.pub", store.supernode_public_key("north"))
    with pytest.raises(UserError, match=r"supernode_north.pub is not .*elliptic.*\n  hint: ssh-ke"):
        store.create_missing(HOSTS, clients=["north"])


def test_key_that_others_may_read_is_rejected(store):
    store.superlink_key.chmod(0o640)
    with pytest.raises(UserError, match=r"others may read .*superlink.key\n  hint: chmod 600"):
        store.create_missing(HOSTS, clients=range(2))


def test_certificates_of_a_users_authority_are_checked(store, tmp_path):
    (store.folder / "ca.key").unlink()
    assert store.create_missing(HOSTS, clients=range(2)) == []
    with pytest.raises(UserError, match=r"superlink.crt: it is not for other.example"):
        store.create_missing([*HOSTS, "other.example"], clients=range(2))
    other = KeyStore(tmp_path / "other")
    other.create_missing(HOSTS, clients=range(1))
    store.ca_certificate.write_bytes(other.ca_certificate.read_bytes())
    with pytest.raises(UserError, match=r"it was not issued by ca.crt"):
        store.create_missing(HOSTS, clients=range(2))
    store.ca_certificate.write_text("no certificate")
    with pytest.raises(UserError, match=r"ca.crt is not a certificate in PEM format"):
        store.create_missing(HOSTS, clients=range(2))


@pytest.mark.parametrize("content", ["nonsense", "ed25519", "with passphrase"])
def test_unsupported_private_key_is_rejected(tmp_path, content):
    path = tmp_path / "supernode.key"
    path.write_text(content)
    if content != "nonsense":
        options = ("ed25519", "-N", "") if content == "ed25519" else ("ecdsa", "-N", "secret")
        path.unlink()
        subprocess.run(["ssh-keygen", "-q", "-f", path, "-t", *options], check=True)
    with pytest.raises(UserError, match=r"supernode.key is not a private key of an elliptic curve"):
        keys.load_private_key(path)


def test_expired_certificate_of_a_users_authority_is_an_error(store, monkeypatch):
    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(days=SUPERLINK_VALIDITY_DAYS + 1)

    (store.folder / "ca.key").unlink()
    monkeypatch.setattr(keys, "datetime", Clock)
    with pytest.raises(UserError, match=r"superlink.crt: it is valid only until 20"):
        store.create_missing(HOSTS, clients=range(2))


def test_certificates_are_valid_after_the_clock_was_set_back_by_an_hour(store):
    for path in (store.ca_certificate, store.superlink_certificate):
        assert certificate(path).not_valid_before_utc < datetime.now(UTC) - timedelta(hours=2)
