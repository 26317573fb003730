"""JMLR from raw text to a table of systems:
fetch -> prepare -> pretrain -> encode -> index -> search -> rerank -> train -> answer -> evaluate -> judge -> report.

    results/{run}/fetch/{source}
    results/{run}/prepare
    results/{run}/{model}/seed{seed}/pretrain
    results/{run}/{origin}/r{round}/encode/{part}     part = questions | passages-{i}-of-{n}
    results/{run}/{origin}/r{round}/index, search, rerank     origin = {system}/seed{seed} | {model}/seed{seed} | {model}
    results/{run}/{origin}/r{round}/search-{i}-of-{n} where there are shards: what `search` puts together
    results/{run}/{system}/seed{seed}/r{round}/train
    results/{run}/{system}/seed{seed}/answer, evaluate
    results/{run}/judge, report

r0 is the models before fine-tuning: those that `pretrain` makes have a seed, ready-made ones have none. r{n}/train is made
from r{n-1}/search; r{n}/encode, index and search use the retriever of r{n}/train (where only its query encoder is trained,
the index stays that of r0). logs/{run}/ and benchmarks/rules/{run}/ mirror results/{run}/; scratch/{run}/ holds unfinished trainings, so that a retry goes on where the last attempt stopped.
"""

from snakemake.utils import min_version

min_version("9.16")


# A file given by --configfile stands alone on the defaults of src/jmlr/options; only without one is the demo's file read.
if not workflow.config_settings.configfiles:

    configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/fetch.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/encode.smk"
include: "workflow/rules/index.smk"
include: "workflow/rules/search.smk"
include: "workflow/rules/rerank.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/answer.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/judge.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        expand(rules.report.output, run=cfg.run),
        JUDGED,


onstart:
    check_cards(checked_run, workflow.dag.needrun_jobs(), local=workflow.local_exec)
    check_jobs(
        workflow.dag.needrun_jobs(),
        local=workflow.local_exec,
        models=checked_run.models,
        overrides=workflow.config_settings.config_args,
    )
    write_options(workflow.dag.needrun_jobs())
    set_pace(local=workflow.local_exec)
    pass_on_end(lambda: workflow.scheduler.running, local=workflow.local_exec)
    keep_warm(local=workflow.local_exec, environments=bool(workflow.deployment_settings.deployment_method))
    if not workflow.local_exec:
        requeue_preempted()


onsuccess:
    print(summary(RUN, BEGUN))


onerror:
    print(
        "Once that is fixed, or to go on: the same command again. What is finished stays; trainings go on where they saved."
    )
