from jmlr.runtime.checkout import commit

# Values that a run of this name should find; a run of another name has none.
EXPECTED = given(os.path.relpath(CHECKOUT / f"config/expected/{cfg.run}.yaml"))
GIVEN = workflow.config_settings.configfiles, workflow.config_settings.config_args
ROWS = {k: counted("report", v) | {"train": counted("report", cfg.train_options(k))} for k, v in cfg.systems.items()}


rule report:
    input:
        prepared="results/{run}/prepare",
        evaluations=every("evaluate"),
        answers=every("answer"),
        trainings=[trained(s, n, r + 1) for s in cfg.systems for n in cfg.seeds for r in range(cfg.systems[s].rounds)],
        costs=other_costs(),
        expected=EXPECTED,
        judged=JUDGED,
        review=given("".join(REVIEW)),
    output:
        page=report(
            "results/{run}/report/report.html",
            caption="../report/report.rst",
            category="Results",
            labels={"what": "the report: tables, figures, every question"},
        ),
        rows=report(
            "results/{run}/report/results.csv",
            caption="../report/results.rst",
            category="Results",
            labels={"what": "every figure, a row each"},
        ),
        tests=report(
            "results/{run}/report/significance.csv",
            caption="../report/significance.rst",
            category="Results",
            labels={"what": "systems compared in pairs"},
        ),
        figures=report(
            directory("results/{run}/report/figures"),
            patterns=["{figure}.svg"],
            caption="../report/figures.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        latex="results/{run}/report/results.tex",
        table="results/{run}/report/table.txt",
    log:
        "logs/{run}/report.log",
    benchmark:
        "benchmarks/rules/{run}/report.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: megabytes("report", 1500, attempt),
        runtime=lambda wildcards, attempt: minutes("report", 60, attempt),
    params:
        code=stage_digest("report"),
        out=subpath(output.page, parent=True),
        expected=lambda w: words("--expected", EXPECTED),
        judged=lambda w: words("--judge", [placed(folder) for folder in JUDGED]),
        # With `resources`: for people, so no reason to report again.
        again=lambda w, resources: words("--again", "" if MODULE else cfg.again(*GIVEN, CHECKOUT)),
        commit=lambda w, resources: words("--commit", commit(CHECKOUT)),
        values=lambda w: values(
            counted("report", cfg.report.model_copy(update={"review": "".join(REVIEW)})), systems=ROWS
        ),
        options=placed("logs/{run}/report.options.yaml"),
    message:
        "Report: one page and one table of all systems and seeds"
    shell:
        "OMP_NUM_THREADS={threads} jmlr report --out {params.out} --name {wildcards.run} --prepared {input.prepared}"
        " --evaluations {input.evaluations} --answers {input.answers} --trainings {input.trainings}"
        " --costs {input.costs} {params.expected} {params.judged}"
        " {params.again} {params.commit} --options {params.options} 2> >(tee -i {log} >&2)"
