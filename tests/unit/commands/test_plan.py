"""`jmlr plan`: the jobs it tells are the jobs of the DAG; its arithmetic is that of the papers and of arrays."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml

from checkout import MINI, jobs_of
from jmlr.__main__ import main
from jmlr.commands.config import read_config
from jmlr.commands.plan import costs, jobs, plan
from jmlr.commands.sizes import Sizes, shape
from jmlr.config import Config
from jmlr.models.flops import Shape, training_flops
from jmlr.models.shapes import shape_of, shape_of_folder
from jmlr.runtime.errors import UserError
from jmlr.runtime.stages import STAGES

ROOT = Path(__file__).resolve().parents[3]
RATES = yaml.safe_load((ROOT / "docs/slurm/rates.yaml").read_text())
# A file without a name of its own is given after one that has it.
OVER = {"paper-released"}  # lies over another run, whose local data it reads
RUNS = [p for p in sorted((ROOT / "config/runs").glob("*.yaml")) if "run" in yaml.safe_load(p.read_text())]
RUNS = [p for p in RUNS if p.stem not in OVER]
OWN = yaml.safe_load((ROOT / "config/config.yaml").read_text())["models"]
LISTS = {
    "bm25": {"bm25": {}},
    "hybrid": {"fusion": {"of": ["bm25", "retriever"]}},
    "all": {"fusion": {"of": ["hybrid", "jmlr"], "depth": 20}},
    "read": {"rerank": {"of": "all", "path": "org/reader", "depth": 50}},
    "both": {"fusion": {"of": ["read", "bm25"]}},
}
FUSED = {f"rag_{k}": {"title": k, "retriever": k} for k in LISTS} | {
    "jmlr": {"title": "J", "rounds": 2, "train": {"target": "pdist"}},
    "begun": {"title": "B", "rounds": 2, "candidates": "hybrid", "train": {"target": "pdist"}},
}
OVERLAYS = {
    "the demo": {},
    "two seeds, three shards": {"seeds": [0, 1], "shards": 3},
    "a judge that the run makes": {"judge": {"judges": ["llm"], "pairs": [["jmlr", "rag"]]}},
    "lists of words, of others": {"seeds": [0, 1], "shards": 2, "models": {**OWN, **LISTS}, "systems": FUSED},
    "words alone": {
        "models": {**OWN, "bm25": {"bm25": {}}},
        "systems": {"words": {"title": "W", "retriever": "bm25", "rounds": 0}},
    },
    "closed book only": {"systems": {"closed_book": {"title": "Closed book", "rounds": 2, "train": {"passages": 0}}}},
}


def of_snakemake(*arguments: str) -> dict[str, int]:
    command = ["snakemake", "--cores", "1", "--dry-run", "--forceall", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return jobs_of(done.stdout + done.stderr)


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_jobs_of_the_plan_are_those_of_the_workflow(tmp_path, name):
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump({"run": "planned", **OVERLAYS[name]}))
    planned = {k: v for k, v in jobs(Config.load(yaml.safe_load(file.read_text()))).items() if v}
    assert planned == of_snakemake("--configfile", str(file))


def test_the_plan_counts_every_stage_of_the_workflow_in_its_order():
    assert list(jobs(Config.load({}))) == list(STAGES), "jobs() in src/jmlr/commands/plan.py: count the stage's jobs"


def test_the_jobs_of_the_mini_run_with_shards_too():
    assert {k: v for k, v in jobs(read_config(ROOT / MINI)).items() if v} == of_snakemake("--configfile", MINI)


@pytest.mark.parametrize(
    ("name", "billions"), [("Llama-2-7b-hf", 6.74), ("Llama-2-13b-hf", 13.02), ("bert-base-uncased", 0.109)]
)
def test_shapes_have_as_many_weights_as_their_models(name, billions):
    shape = Shape.of(RATES["models"][name])
    heads = 2 if name.startswith("Llama") else 1
    assert (shape.body + heads * shape.head) / 1e9 == pytest.approx(billions, rel=0.01)


def test_the_joint_step_costs_what_its_parts_cost():
    llm, bert = Shape.of(RATES["models"]["Llama-2-7b-hf"]), Shape.of(RATES["models"]["bert-base-uncased"])
    given = {
        "prompt": 100,
        "judged": 30,
        "answer": 5,
        "samples": 4,
        "candidates": 10,
        "passage": 20,
        "query": 8,
        "recompute": False,
    }
    plain, joint = training_flops(llm, None, **given), training_flops(llm, bert, **given)
    assert plain == 2 * llm.forward(100, 5)
    judging = 4 * llm.forward(30, 5)
    assert joint - plain - judging == pytest.approx((10 + 3 * 6) * bert.forward(20) + 3 * bert.forward(8))
    assert llm.forward(1, 0) == pytest.approx(2 * llm.body, rel=1e-3)


def test_vectors_have_the_bytes_of_an_array():
    run = Config.load({})
    lines = {x.stage: x for x in costs(run, Sizes(1000, 10, 5, 4, 1.0, 1, 0), RATES, "cpu-thread")}
    texts = np.zeros((1000 + 10, 96), np.float32)
    assert lines["encode"].bytes == 4 * texts.nbytes  # the base retriever's and three rounds'
    assert all(line.gpu_hours == 0 for line in lines.values())


def test_a_colbert_has_a_vector_for_each_token_and_fills_its_queries_up():
    run = read_config(ROOT / "config/runs/paper-7b.yaml")
    sizes = Sizes(1000, 10, 5, 4, 0.5, 1, 4)
    lines = {x.stage: x for x in costs(run, sizes, RATES, "h100")}
    passages, queries = np.zeros((1000 * 256, 128), np.float32), np.zeros((10 * 512, 128), np.float32)
    rounds = 1 + 1 + 3  # the base retriever's, those of jmlr, those of jmlr_rounds
    assert lines["encode"].bytes == rounds * (passages.nbytes + queries.nbytes)
    assert lines["index"].bytes == rounds * passages.size * (4 + 1)  # float32, and the int8 that is scanned
    products = 2 * len(queries) * len(passages) * 128
    scan = RATES["devices"]["h100"]["maxsim_int8_ops"]["value"]
    assert lines["search"].hours == pytest.approx(rounds * products / float(scan) / 3600 / run.shards)


def test_a_large_colbert_is_priced_in_two_steps_and_exhaustively_where_that_is_asked_for():
    text = yaml.safe_load((ROOT / "config/runs/paper-7b.yaml").read_text())
    sizes = Sizes(10_000_000, 100_000, 5, 4, 1.0, 1, 4)
    hours = {}
    for exhaustive in (True, False):
        run = Config.load({**text, "search": {"exhaustive": exhaustive, "rerank_count": 500, "recall_sample": 100}})
        hours[exhaustive] = next(x.hours for x in costs(run, sizes, RATES, "h100") if x.stage == "search")
    rates = {k: float(RATES["devices"]["h100"][k]["value"]) for k in ("maxsim_int8_ops", "search_float32_ops")}
    pairs = 512 * 512 / rates["maxsim_int8_ops"]
    share = 100 / 100_000 + 500 * run.shards / 10_000_000 + 1 / rates["search_float32_ops"] / pairs
    assert hours[False] / hours[True] == pytest.approx(share)
    small = [
        next(x.hours for x in costs(run, Sizes(*few, 5, 4, 1.0, 1, 4), RATES, "h100") if x.stage == "search")
        for few in ((100_000, 100_000), (10_000_000, 100))
    ]
    assert small == pytest.approx([hours[True] / 100, hours[True] / 1000])  # all questions, or few: no sample


def test_passages_that_are_shorter_in_training_cost_less_there_and_nothing_less_in_the_index():
    text = (ROOT / "config/runs/paper-7b.yaml").read_text()
    whole, short = (
        Config.load({**yaml.safe_load(text), "train": {"steps": 100, "retriever_train_passage_tokens": n}})
        for n in (0, 128)
    )
    sizes = Sizes(1000, 10, 5, 4, 1.0, 1, 4)
    lines = [{x.stage: x for x in costs(run, sizes, RATES, "h100")} for run in (whole, short)]
    assert lines[0]["train"].hours > lines[1]["train"].hours
    assert lines[0]["encode"] == lines[1]["encode"]


def test_the_shape_of_a_continued_model_is_that_of_the_model_it_was_continued_from():
    run = read_config(ROOT / "config/runs/demo-ablations.yaml")
    assert shape(run, "llm_corpus", RATES) == shape(run, "llm", RATES)


@pytest.mark.parametrize("path", RUNS, ids=lambda p: p.stem)
def test_every_committed_run_can_be_planned(path, capsys):
    given = ["--corpus-passages", "1000000", "--all-questions", "200000", "--test-questions", "5000"]
    assert main(["plan", str(path), *given, "--rates", str(ROOT / "docs/slurm/rates.yaml")]) == 0
    assert re.search(r"^search +\d+ +\d+\.\d", capsys.readouterr().out, re.M)


def test_more_gpus_take_less_time_and_never_fewer_gpu_hours():
    run = read_config(ROOT / "docs/slurm/paper.yaml")
    trained = [
        next(x for x in costs(run, Sizes(10**6, 1000, 100, 4, 1.0, nodes, gpus), RATES, "h100") if x.stage == "train")
        for nodes, gpus in ((1, 1), (1, 4), (2, 4), (8, 4))
    ]
    assert sorted((x.hours for x in trained), reverse=True) == [x.hours for x in trained]
    assert sorted(x.gpu_hours for x in trained) == [x.gpu_hours for x in trained]


def test_every_rate_says_where_it_comes_from():
    groups = [*RATES["devices"].values(), RATES["everywhere"]]
    rates = [rate for group in groups for rate in group.values()]
    assert len(rates) > 15
    assert all(float(r["value"]) > 0 and r["unit"] and r["source"] for r in rates)


def test_the_command_prints_the_plan_and_its_rates(capsys):
    given = ["docs/slurm/paper.yaml", "--corpus-passages", "25000000", "--all-questions", "200000", "--nodes", "2"]
    assert main(["plan", str(ROOT / given[0]), *given[1:], "--rates", str(ROOT / "docs/slurm/rates.yaml")]) == 0
    text = capsys.readouterr().out
    assert "train" in text
    assert "assumed" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "h10"], "did you mean 'h100'?"),
        (["--nodes", "0"], "--nodes 0"),
        (["--llm", "gpt"], "unknown shape"),
    ],
)
def test_a_wrong_request_is_one_line(capsys, arguments, message):
    given = [str(ROOT / "docs/slurm/paper.yaml"), "--corpus-passages", "10", "--all-questions", "10", *arguments]
    assert main(["plan", *given, "--rates", str(ROOT / "docs/slurm/rates.yaml")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_a_plan_of_a_file_that_yaml_reads_otherwise_than_it_looks_is_refused(tmp_path, capsys):
    (tmp_path / "run.yaml").write_text("run: mine\ntrain: {steps: 5}\ntrain: {batch: 4}\n")
    given = ["--corpus-passages", "10", "--all-questions", "10", "--rates", str(ROOT / "docs/slurm/rates.yaml")]
    assert main(["plan", str(tmp_path / "run.yaml"), *given]) == 2
    assert "run.yaml, line 3: 'train' stands in line 2 already, which would not count" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: [1,2\nb: }\n", "line 2: not YAML"),
        (b"just words", "a mapping of keys is wanted"),
        (b"[]", "a mapping of keys is wanted"),
        (b"\x89PNG\x00\xff", "as text in UTF-8"),
    ],
)
@pytest.mark.parametrize("which", ["config", "rates"])
def test_a_file_that_is_no_configuration_is_one_line_that_names_it(tmp_path, content, said, which):
    (tmp_path / "x.yaml").write_bytes(content)
    files = {"config": ROOT / "config/config.yaml", "rates": ROOT / "docs/slurm/rates.yaml", which: tmp_path / "x.yaml"}
    with pytest.raises(UserError, match=f"x.yaml.*{said}") as error:
        plan([files["config"]], corpus_passages=10, all_questions=10, rates=files["rates"])
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=f"x.yaml.*{said}"):
        read_config(tmp_path / "x.yaml")


def test_a_folder_in_place_of_a_configuration_is_said_to_be_one(tmp_path):
    with pytest.raises(UserError, match=r"CONFIGS: '.*' is a folder; allowed: a YAML file"):
        plan([tmp_path], corpus_passages=10, all_questions=10)


@pytest.mark.parametrize("content", ["", "# run: mine\n", "---\n"])
def test_a_configuration_without_keys_is_refused_as_snakemake_does(tmp_path, content):
    (tmp_path / "x.yaml").write_text(content)
    with pytest.raises(UserError, match=r"x.yaml: it holds no keys, and Snakemake takes no such file"):
        read_config(tmp_path / "x.yaml")


def test_files_over_a_run_are_planned_as_snakemake_merges_them(tmp_path, capsys):
    over = ROOT / "config/runs/paper-released.yaml"
    below, run = ROOT / "config/runs/paper-13b.yaml", read_config(ROOT / "config/runs/paper-13b.yaml", over)
    assert (run.search.candidates, run.train.passages, run.train.samples) == (20, 5, 10)
    assert len(run.prepare.corpora) == 3
    seconds = []
    for files in ([below], [below, over]):
        assert main(["plan", *map(str, files), "--corpus-passages", "1000000", "--all-questions", "10000"]) == 0
        seconds.append(float(re.search(r"search +\d+ +([\d.]+)", capsys.readouterr().out)[1]))
    assert seconds[0] / seconds[1] == pytest.approx(512 / 128, rel=0.02)  # shorter queries, fewer tokens to scan


@pytest.mark.parametrize(
    ("odd", "allowed"),
    [
        *((f"--fill {value}", "above 0, up to 1") for value in ("-1", "0", "2", "nan")),
        *((f"--card-gb {value}", "0 or more") for value in ("-1", "nan", "inf")),
        ("--test-questions -1", "0 or more"),
        ("--test-questions 11", "up to the 10 of --all-questions"),
        ("--gpus-per-node -4", "0 or more"),
        ("--question-options 0", "1 or more"),
        ("--threads 0", "1 or more"),
    ],
)
def test_a_number_that_there_cannot_be_is_one_line_about_it_alone(capsys, odd, allowed):
    assert main(["plan", str(ROOT / MINI), "--corpus-passages", "10", "--all-questions", "10", *odd.split()]) == 2
    assert capsys.readouterr().err == f"jmlr plan: {odd}; allowed: {allowed}\n"


def test_nodes_without_gpus_are_planned_at_the_rates_of_a_cpu(capsys):
    without = planned(capsys, str(ROOT / MINI), "--gpus-per-node", "0")
    assert without == planned(capsys, str(ROOT / MINI), "--gpus-per-node", "0", "--device", "cpu-thread")
    assert without != planned(capsys, str(ROOT / MINI), "--gpus-per-node", "1")


def test_a_fault_of_two_files_together_names_both(tmp_path, capsys):
    over = tmp_path / "over.yaml"
    over.write_text("systems: {rag: {retriever: nothing}}")
    assert main(["plan", str(ROOT / MINI), str(over), "--corpus-passages", "10", "--all-questions", "10"]) == 2
    assert capsys.readouterr().err.startswith(
        f"jmlr plan: {ROOT / MINI} {over}: config: systems.rag.retriever: no model 'nothing'"
    )


def test_the_plan_tells_what_each_training_takes_of_a_card_and_ends_where_it_does_not_fit(capsys):
    file, more = ROOT / "docs/slurm/paper.yaml", {"corpus_passages": 1000, "all_questions": 1000}
    plan([file], **more, llm="Llama-2-70b-hf")
    whole = re.search(r"systems.jmlr: ([\d.]+) GB of a card, whole on every card", capsys.readouterr().out)
    assert whole is not None
    assert float(whole[1]) > 4 * 69  # float32, as the file has it
    plan([file], **more, card_gb=141)
    with pytest.raises(
        UserError, match=r"--card-gb 80.* does not hold 2 of 2 trainings and answers: systems.jmlr: .* less: "
    ) as error:
        plan([file], **more, llm="Llama-2-70b-hf", card_gb=80)
    training, _, answering = str(error.value).partition("; systems.jmlr.answer: ")
    assert "answer.shard_llm over 4 cards (" in answering
    said = dict(re.findall(r"([\w ]+) \(([\d.]+) GB\)", training))
    assert {"llm_precision 4bit", "llm_precision bfloat16", "shard_llm over 4 cards"} <= {k.strip() for k in said}
    assert all(float(gb) < float(whole[1]) for gb in said.values())


def planned(capsys, *arguments: str) -> str:
    given = ["--corpus-passages", "1000", "--all-questions", "1000", "--test-questions", "100"]
    assert main(["plan", *arguments, *given]) == 0
    return capsys.readouterr().out


def test_each_retriever_of_a_run_is_counted_with_its_own_vectors():
    run = read_config(ROOT / "config/runs/openstax.yaml")
    lines = {x.stage: x for x in costs(run, Sizes(1000, 10, 5, 4, 1.0, 1, 0), RATES, "cpu-thread")}
    minilm, own = np.zeros((1000, 384), np.float32), np.zeros((1000, 192), np.float32)
    asked = 10 * 4 * (384 * (1 + 4 * 2) + 192 * (1 + 2))  # before training, and after each of two rounds
    assert lines["encode"].bytes == minilm.nbytes + own.nbytes + asked  # only query encoders are trained


def test_a_colbert_on_this_machine_is_planned_as_one(tmp_path):
    folder = tmp_path / "colbert"
    (folder / "1_Dense").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(RATES["models"]["bert-base-uncased"]))
    (folder / "config_sentence_transformers.json").write_text('{"model_type": "ColBERT"}')
    (folder / "modules.json").write_text(
        json.dumps([{"type": "x.Transformer", "path": ""}, {"type": "x.Dense", "path": "1_Dense"}])
    )
    (folder / "1_Dense/config.json").write_text('{"in_features": 768, "out_features": 96}')
    assert shape_of_folder(folder).colbert_depth == 96
    assert shape_of(str(folder)) == shape_of_folder(folder)


def test_every_training_that_does_not_fit_is_named_and_what_retrievers_take_is_counted(capsys):
    files = [ROOT / "config/runs/paper-13b.yaml", ROOT / "config/runs/paper-others.yaml"]
    with pytest.raises(UserError) as error:
        plan(files, corpus_passages=1000, all_questions=1000, card_gb=40)
    said, told = str(error.value), capsys.readouterr().out
    assert "\n" not in said
    assert {"systems.rag", "systems.jmlr", "models.llm_corpus"} <= set(re.findall(r"[\w]+\.\w+", said))
    takes = {k: float(v) for k, v in re.findall(r"^(\S+): ([\d.]+) GB of a card", told, re.M)}
    assert takes["systems.jmlr"] > takes["systems.rag"] + 16 * 0.109  # ColBERTv2, trained in full


def test_answers_whose_longest_prompts_may_not_fit_a_card_say_what_helps(capsys):
    text = planned(capsys, str(ROOT / "config/runs/paper-7b.yaml"), "--gpus-per-node", "1", "--card-gb", "200")
    lines = dict(re.findall(r"^(systems\.\w+\.answer): (.*)$", text, re.M))
    assert re.search(
        r"; prompts as long as they may be do not fit 200 GB, less: .*answer_batch 8", lines["systems.rag.answer"]
    )
    assert "do not fit" not in lines["systems.closed_book.answer"]


def test_a_card_without_gpus_is_no_silent_plan(capsys):
    given = ["--corpus-passages", "10", "--all-questions", "10", "--gpus-per-node", "0", "--card-gb", "80"]
    assert main(["plan", str(ROOT / MINI), *given]) == 2
    assert "--card-gb 80 with --gpus-per-node 0: there is no card" in capsys.readouterr().err


def test_more_gpus_than_texts_in_a_batch_are_said(capsys):
    text = planned(capsys, str(ROOT / "config/runs/paper-7b.yaml"), "--nodes", "8")
    assert "the batch is less than 32 GPUs, which such a run refuses" in text
