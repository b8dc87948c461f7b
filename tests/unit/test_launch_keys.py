"""Keys and certificates: what is made, what is renewed, and what is refused."""

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
def made(tmp_path):
    new = KeyStore(tmp_path / "keys")
    new.create_missing(HOSTS, clients=range(2))
    return new


def certificate(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_only_the_owner_can_read_them(made):
    assert made.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in made.folder.iterdir()} == {0o600}
    assert len(list(made.folder.iterdir())) == 4 + 2 * 2


def test_the_certificate_is_for_its_hosts_and_from_the_authority(made):
    found = certificate(made.superlink_certificate)
    found.verify_directly_issued_by(certificate(made.ca_certificate))
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["link.example"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]
    context = ssl.create_default_context(cafile=made.ca_certificate)
    context.load_cert_chain(made.superlink_certificate, made.superlink_key)


def test_a_node_has_a_key_pair_of_a_curve_that_flower_takes(made):
    private = load_ssh_private_key(made.supernode_key(1).read_bytes(), None)
    public = load_ssh_public_key(made.supernode_public_key(1).read_bytes())
    assert isinstance(private.curve, ec.SECP384R1)
    assert private.public_key() == public
    assert public != load_ssh_public_key(made.supernode_public_key(0).read_bytes())


def test_made_again_nothing_changes_and_a_new_client_gets_keys(made):
    assert made.create_missing(HOSTS, clients=range(2)) == []
    assert made.create_missing(["link.example"], clients=range(2)) == []
    assert made.create_missing(HOSTS, clients=range(3)) == ["supernode_2.key", "supernode_2.pub"]


def test_another_host_renews_the_certificate_alone(made):
    assert made.create_missing([*HOSTS, "other.example"], clients=range(2)) == [
        "superlink.crt",
        "superlink.key",
    ]


def test_what_is_about_to_expire_is_renewed_in_time(made, monkeypatch):
    def at(days):
        class Clock(datetime):
            @classmethod
            def now(cls, tz=None):
                return datetime.now(tz) + timedelta(days=days)

        monkeypatch.setattr(keys, "datetime", Clock)
        return made.create_missing(HOSTS, clients=range(2))

    until = certificate(made.superlink_certificate).not_valid_after_utc - datetime.now(UTC)
    assert until.days == SUPERLINK_VALIDITY_DAYS - 1
    assert at(SUPERLINK_VALIDITY_DAYS - keys.RENEW_BEFORE.days - 1) == []
    assert at(SUPERLINK_VALIDITY_DAYS - keys.RENEW_BEFORE.days + 1) == [
        "superlink.crt",
        "superlink.key",
    ]
    renewed = at(CA_VALIDITY_DAYS)
    assert renewed == ["ca.crt", "ca.key", "superlink.crt", "superlink.key"]


def test_a_lost_key_of_a_node_is_replaced(made):
    made.supernode_public_key(0).unlink()
    assert made.create_missing(HOSTS, clients=range(2)) == ["supernode_0.key", "supernode_0.pub"]


def test_a_client_may_keep_its_own_key_to_itself(made, tmp_path):
    """As OpenSSH makes it; nothing is made for such a client."""
    command = ["ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-N", "", "-f", tmp_path / "own.key"]
    subprocess.run(command, check=True)
    shutil.copy(tmp_path / "own.key.pub", made.supernode_public_key("north"))
    assert made.create_missing(HOSTS, clients=["north"]) == []
    assert not made.supernode_key("north").exists()
    private = load_ssh_private_key((tmp_path / "own.key").read_bytes(), None)
    assert private.public_key() == load_ssh_public_key(
        made.supernode_public_key("north").read_bytes()
    )


@pytest.mark.parametrize("kind", ["ed25519", "nonsense"])
def test_a_key_that_flower_does_not_take_is_refused(made, tmp_path, kind):
    made.supernode_public_key("north").write_text("nonsense")
    if kind != "nonsense":
        command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", tmp_path / "own.key"]
        subprocess.run(command, check=True)
        shutil.copy(tmp_path / "own.key.pub", made.supernode_public_key("north"))
    with pytest.raises(UserError, match=r"supernode_north.pub is not .*elliptic.*\n  hint: ssh-ke"):
        made.create_missing(HOSTS, clients=["north"])


def test_keys_that_others_may_read_are_refused(made):
    made.superlink_key.chmod(0o640)
    with pytest.raises(UserError, match=r"others may read .*superlink.key\n  hint: chmod 600"):
        made.create_missing(HOSTS, clients=range(2))


def test_an_authority_of_ones_own_is_kept_and_its_certificate_checked(made, tmp_path):
    (made.folder / "ca.key").unlink()
    assert made.create_missing(HOSTS, clients=range(2)) == []
    with pytest.raises(UserError, match=r"superlink.crt: it is not for other.example"):
        made.create_missing([*HOSTS, "other.example"], clients=range(2))
    other = KeyStore(tmp_path / "other")
    other.create_missing(HOSTS, clients=range(1))
    made.ca_certificate.write_bytes(other.ca_certificate.read_bytes())
    with pytest.raises(UserError, match=r"it was not issued by ca.crt"):
        made.create_missing(HOSTS, clients=range(2))
    made.ca_certificate.write_text("no certificate")
    with pytest.raises(UserError, match=r"ca.crt is not a certificate in PEM format"):
        made.create_missing(HOSTS, clients=range(2))
