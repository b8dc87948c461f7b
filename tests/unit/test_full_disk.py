"""Tests of messages about full disks."""

import shutil

from blossomtune.full_disk import describe_full_disks


def test_disk_that_cannot_be_asked_does_not_hide_the_message(monkeypatch):
    disk_usage = shutil.disk_usage

    def refuse_root(path):
        if path == "/":
            raise PermissionError(13, "Permission denied", path)  # the fault
        return disk_usage(path)

    monkeypatch.setattr(shutil, "disk_usage", refuse_root)
    assert str(describe_full_disks()).startswith("no space left on the disk")
