"""The content digest and its enforcement."""

import hashlib

import pytest

from megaport.fetch.checksum import DigestError, check_content, content_digest

A, B, C = (hashlib.sha256(text).hexdigest() for text in (b"a", b"b", b"c"))


def test_one_file_is_known_by_its_own_digest_whatever_its_name():
    assert content_digest({"release/mp_rank_00/model_optim_rng.pt": A}) == A
    assert content_digest({"model.pt": A}) == A


def test_several_files_are_known_by_the_sorted_list_that_sha256sum_would_print():
    expected = hashlib.sha256("".join(sorted([f"{A}  x\n", f"{B}  y\n"])).encode()).hexdigest()
    assert content_digest({"x": A, "y": B}) == content_digest({"y": B, "x": A}) == expected


def test_names_count_where_there_are_several():
    assert content_digest({"x": A, "y": B}) != content_digest({"x": B, "y": A})


def test_no_content_is_an_error():
    with pytest.raises(DigestError, match="no file that holds model content"):
        content_digest({})


def test_what_is_pinned_is_enforced():
    assert check_content(A, pinned=A, trusted=None).basis == "pinned"
    key = "models.m.checkpoint.sha256"
    with pytest.raises(DigestError) as failure:
        check_content(A, pinned=B, trusted=None, key=key)
    for part in (A, B, key, "-R download"):
        assert part in str(failure.value)


def test_a_pin_may_be_in_capitals():
    assert check_content(A, pinned=A.upper(), trusted=None).digest == A


def test_the_pin_outranks_the_record():
    assurance = check_content(A, pinned=A, trusted=B)
    assert (assurance.basis, assurance.line_to_paste) == ("pinned", None)
    with pytest.raises(DigestError):
        check_content(A, pinned=B, trusted=A)


def test_what_was_trusted_is_enforced():
    assert check_content(A, pinned=None, trusted=A).basis == "trusted"
    key = "models.m.checkpoint.sha256"
    with pytest.raises(DigestError) as failure:
        check_content(A, pinned=None, trusted=B, key=key)
    assert f"set {key}: {A}" in str(failure.value)
    assert B in str(failure.value)


@pytest.mark.parametrize("trusted", [None, A])
def test_what_is_not_pinned_comes_with_the_line_to_paste(trusted):
    assurance = check_content(A, pinned=None, trusted=trusted)
    assert assurance.line_to_paste == f"sha256: {A}"
    assert assurance.basis == ("trusted" if trusted else "first use")
