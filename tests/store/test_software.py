"""Versions of what is installed, as the action key has them."""

import sys
from importlib.metadata import version

from megaport.store import software


def test_versions_are_those_of_the_first_installed(tmp_path, monkeypatch):
    for place, number in (("near", "2.0"), ("far", "1.0")):
        (tmp_path / place / f"Some_Package-{number}.dist-info").mkdir(parents=True)
    (tmp_path / "far" / "dotted.name-4.0.dist-info").mkdir()
    egg = tmp_path / "near" / "Old.egg-info"
    egg.mkdir()
    (egg / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: Old\nVersion: 3.0\n")
    path = [str(tmp_path / "near"), str(tmp_path / "far"), str(tmp_path / "nowhere")]
    monkeypatch.setattr(sys, "path", path)
    software._installed.cache_clear()
    try:
        found = software.versions(["some-package", "Old", "nobody", "tqdm", "dotted-name"])
    finally:
        software._installed.cache_clear()
    installed = {"some-package": "2.0", "Old": "3.0", "dotted-name": "4.0"}
    assert found == installed | {"nobody": "absent"}


def test_a_package_is_found_under_the_name_it_is_distributed_by():
    assert software.versions(["yaml"]) == {"yaml": version("PyYAML")}


def test_a_package_brings_those_that_matter_as_much():
    assert set(software.versions(["transformers"])) == {"transformers", "tokenizers", "safetensors"}
