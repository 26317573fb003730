rule train:
    input:
        prepared="results/{run}/prepare",
        llm=lambda w: model_input(cfg.systems[w.system].llm, w.seed),
        retriever=lambda w: (
            model_input(cfg.systems[w.system].retriever, w.seed) if cfg.train_options(w.system).joint else []
        ),
        candidates=lambda w: (w.round == "1" and begun_with(w.system, w.seed))
        or searches(w.system, w.seed)[: int(w.round)][-1:],
        index=lambda w: (
            index_of(os.path.dirname(searches(w.system, w.seed)[int(w.round) - 1]))
            if cfg.train_options(w.system).live_candidates
            else []
        ),
        previous=lambda w: trained(w.system, w.seed, int(w.round) - 1) if int(w.round) > 1 else [],
        vectors=lambda w: (
            [f"{results_of(cfg.systems[w.system].retriever, w.seed)}/encode/{part}" for part in PARTS]
            if cfg.train_options(w.system).keeps_passages
            else []
        ),
    output:
        directory("results/{run}/{system}/seed{seed}/r{round}/train"),
    log:
        "logs/{run}/{system}/seed{seed}/r{round}/train.log",
    benchmark:
        "benchmarks/rules/{run}/{system}/seed{seed}/r{round}/train.tsv"
    conda:
        TORCH_ENV
    threads: 1
    resources:
        gpu=0,
        nodes=1,
        mem_mb=lambda wildcards, attempt: megabytes("train", 3000, attempt),
        runtime=1440,  # a later attempt goes on where the last one stopped
    params:
        code=lambda w: stage_digest("train", cfg.train_options(w.system), retriever=KINDS[w.system]),
        llm=lambda w: words("--llm", model(cfg.systems[w.system].llm, w.seed)),
        retriever=lambda w: words("--retriever", training_retriever(w.system, w.seed, int(w.round))),
        candidates=lambda w, input: words("--search", input.candidates),
        previous=lambda w, input: words("--previous", input.previous),
        vectors=lambda w, input: words("--vectors", input.vectors),
        index=lambda w, input: words("--index", input.index),
        rounds=lambda w: cfg.systems[w.system].rounds,
        method=lambda w, resources: cfg.method(w.system),  # with `resources`: for people, so no reason to train again
        launch=lambda w, resources, threads: launch(gpus=resources.gpu, nodes=resources.nodes, threads=threads),
        scratch=placed("scratch/{run}/{system}/seed{seed}/r{round}/train"),
        values=lambda w: values(
            counted("train", cfg.train_options(w.system).used, cfg.reading_options(w.system), cfg.retrieval),
            without=["keep_best"],
        ),
        options=placed("logs/{run}/{system}/seed{seed}/r{round}/train.options.yaml"),
    message:
        "Training: {wildcards.system}, seed {wildcards.seed}, round {wildcards.round} of {params.rounds}: {params.method}"
    shell:
        "{params.launch} jmlr train --out {output} --prepared {input.prepared} --seed {wildcards.seed}"
        " --round {wildcards.round} --rounds {params.rounds} --scratch {params.scratch}"
        " {params.llm} {params.retriever} {params.candidates} {params.previous} {params.vectors} {params.index} --options {params.options}"
        " 2> >(tee -i {log} >&2)"
