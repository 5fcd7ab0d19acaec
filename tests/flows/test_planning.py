"""What a build would do is said before it is done, by the flow's own code."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from flows.config import CorpusConfig
from flows.rates import load_rates
from flows.running import planned
from storage.store import Store

FIRST, SECOND = "2024-10", "2024-11"


@pytest.fixture(scope="module")
def rates(whole):
    return load_rates(Store(whole.config.root))


def listing(root):
    return {path: path.stat().st_mtime_ns for path in Path(root).rglob("*") if path.is_file()}


def by_stage(plan):
    return {one.stage: one for one in plan.stages}


def test_a_finished_corpus_has_nothing_to_do(whole):
    before = listing(whole.config.root)
    plan = planned(whole.config)
    assert plan.to_do == 0
    assert plan.summary() == "Everything is done: a build would compute nothing."
    assert by_stage(plan)["find_neighbours"].done == 12
    assert listing(whole.config.root) == before


def test_a_plan_of_an_update_has_the_jobs_that_the_update_then_does(build, build_config, tmp_path):
    build(tmp_path, (FIRST,))
    config = CorpusConfig.model_validate(build_config(tmp_path))
    stages = by_stage(planned(config))
    updated = build(tmp_path)
    run = updated.report.flow_run.replace("-", "")[:12]
    new = [one for one in updated.manifests().values() if one.run == run]
    jobs = {(one.stage.partition(".")[0], one.started) for one in new}
    done = {stage: sum(name == stage for name, _ in jobs) for stage in stages}
    assert done == {name: one.to_do for name, one in stages.items()}
    assert stages["extract_documents"].done == stages["extract_documents"].to_do == 2
    assert (stages["find_neighbours"].done, stages["find_neighbours"].to_do) == (3, 9)


def test_forecasts_come_from_what_was_measured(build, build_config, tmp_path, whole):
    build(tmp_path, (FIRST,))
    plan = planned(CorpusConfig.model_validate(build_config(tmp_path)))
    assert plan.is_measured
    assert "rates that runs below this root measured" in plan.summary()
    stages = by_stage(plan)
    assert all(one.is_known for one in plan.stages)
    assert plan.seconds > 0
    assert all(one.memory_bytes > 50e6 for one in plan.stages)  # a Python process with Arrow and polars has as much
    records = sum(part.rows for part in whole.snapshot.find("documents") if part.partition.startswith(SECOND))
    assert 0.3 * records < stages["extract_documents"].rows < 3 * records


def test_the_first_plan_says_whose_rates_it_goes_by(build_config, tmp_path):
    plan = planned(CorpusConfig.model_validate(build_config(tmp_path)))
    assert not plan.is_measured
    assert "typical rates of another machine" in plan.summary()
    assert by_stage(plan)["publish"].to_do == 1
    assert not list(tmp_path.glob("datasets/**/*"))


def test_languages_that_nobody_named_are_said_to_be_unknown(build_config, tmp_path):
    plan = planned(CorpusConfig.model_validate(build_config(tmp_path, languages=[])))
    assert "name them to have them planned" in plan.summary()
    assert "survey_languages" in by_stage(plan)


def test_every_run_adds_to_the_rates(rates):
    assert rates.measured
    assert {"extract_documents", "split_sentences", "find_neighbours", "publish"} <= set(rates.stages)
    assert rates.stages["find_neighbours"].work > 1000  # pairs of sentences
    assert all(one.seconds > 0 for one in rates.stages.values())


def test_the_command_prints_a_table(babelmill, build_config, tmp_path):
    file = tmp_path / "corpus.yaml"
    file.write_text(yaml.safe_dump(build_config(tmp_path / "root")))
    lines = babelmill.lines("plan", file)
    assert any("extract documents" in line for line in lines)
    assert not (tmp_path / "root" / "datasets").exists()


def test_a_plan_of_the_impossible_is_refused(babelmill, build_config, tmp_path):
    file = tmp_path / "corpus.yaml"
    file.write_text(yaml.safe_dump(build_config(tmp_path / "root", crawls=[{"name": "x", "path": "/not/there"}])))
    assert "crawls.x.path" in babelmill.refused("plan", file)
