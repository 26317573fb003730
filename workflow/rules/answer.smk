rule answer:
    input:
        prepared="results/{run}/prepare",
        llm=lambda w: model_input(cfg.systems[w.system].llm, w.seed),
        trained=lambda w: trainings(w.system, w.seed)[answering(w.system) :],
        candidates=lambda w: (
            searches(w.system, w.seed)[answering(w.system) :] if cfg.train_options(w.system).passages else []
        ),
    output:
        directory("results/{run}/{system}/seed{seed}/answer"),
    log:
        "logs/{run}/{system}/seed{seed}/answer.log",
    benchmark:
        "benchmarks/rules/{run}/{system}/seed{seed}/answer.tsv"
    conda:
        TORCH_ENV
    threads: 1
    resources:
        gpu=0,
        nodes=1,
        mem_mb=lambda wildcards, attempt: megabytes("answer", 2000, attempt),
        runtime=lambda wildcards, attempt: minutes("answer", 480, attempt),
    params:
        code=lambda w: stage_digest(
            "answer", cfg.answer_options(w.system), endpoint=cfg.systems[w.system].llm in cfg.endpoints
        ),
        llm=lambda w: words("--llm", model(cfg.systems[w.system].llm, w.seed)),
        trained=lambda w, input: words("--trained", input.trained),
        candidates=lambda w, input: words("--searches", input.candidates),
        launch=lambda w, resources, threads: launch(
            gpus=resources.gpu, nodes=resources.nodes, threads=threads, one=cfg.systems[w.system].llm in cfg.endpoints
        ),
        passages=lambda w: cfg.train_options(w.system).passages,
        splits=lambda w, resources: cfg.answer.splits,  # with `resources`: for people, so no reason to answer again
        values=lambda w: values(
            counted("answer", cfg.answer_options(w.system), cfg.reading_options(w.system)),
            endpoint=cfg.endpoint(cfg.systems[w.system].llm),
        ),
        options=placed("logs/{run}/{system}/seed{seed}/answer.options.yaml"),
    message:
        "Test: {wildcards.system}, seed {wildcards.seed}, answers the questions of {params.splits}"
    shell:
        "{params.launch} jmlr answer --out {output} --prepared {input.prepared} {params.llm} {params.trained}"
        " {params.candidates} --passages {params.passages} --options {params.options} 2> >(tee -i {log} >&2)"
