"""What mining can do besides its defaults, through whole builds: judges, matched documents, indexes."""

from __future__ import annotations

import pytest

FIRST, SECOND = "2024-10", "2024-11"
JUDGES = {"alignment": {"kind": "alignment"}, "encoder": {"kind": "encoder", "encoder": "default"}}


@pytest.mark.parametrize("judge", JUDGES)
def test_with_every_option_an_update_equals_a_rebuild(build, tmp_path, judge):
    options = {
        "mine": {"threshold": 1.0, "retrieval": "union", "judge": JUDGES[judge]},
        "match": {"least_similarity": 0.3},
        "search": {"index": "IVF16,Flat"},
    }
    first = build(tmp_path / "updated", (FIRST,), **options)
    second, whole = build(tmp_path / "updated", **options), build(tmp_path / "whole", **options)
    assert second.parts() == whole.parts()
    assert second.release() == whole.release()
    run = first.report.flow_run.replace("-", "")[:12]
    names = {one.name for one in second.snapshot.things}
    assert {"index", "document_pairs", "local_pairs"} <= names
    for name in ("index", "document_pairs", "local_pairs", "neighbours"):
        old = [one for one in second.snapshot.find(name) if SECOND not in one.partition.split("/")]
        assert old, name
        assert {second.manifests()[one].run for one in old} == {run}, name
    judged = [one for one in second.snapshot.find("pair_scores") if one.partition.endswith("/judge")]
    assert len(judged) == 3
    assert sum(one.rows for one in judged) > 0
    assert set(whole.report.recalls) == set(whole.report.looked_at) == set(whole.report.pairs)
    assert min(whole.report.recalls.values()) >= 0.95
    assert all(0 < share <= 1 for share in whole.report.looked_at.values())


def test_matched_documents_find_what_no_search_does(build, whole, tmp_path):
    matched = build(tmp_path, match={"least_similarity": 0.3})
    found = [matched.store.read(one) for one in matched.snapshot.find("pairs")]
    told = {name for table in found for name in table["found_by"].to_pylist()}
    assert any("document" in name for name in told)
    matches = [matched.store.read(one)["matched_by"].to_pylist() for one in matched.snapshot.find("document_pairs")]
    assert "hreflang" in {how for table in matches for how in table}
    assert sum(table.num_rows for table in found) >= sum(one.rows for one in whole.snapshot.find("pairs"))
    for table in found:
        by_document = [("document" in name) for name in table["found_by"].to_pylist()]
        assert by_document == table["alignment"].is_valid().to_pylist()
