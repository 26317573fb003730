rule train:
    input:
        prepared="results/{run}/prepare",
        llm=lambda w: model_input(cfg.systems[w.system].llm, w.seed),
        retriever=lambda w: model_input(cfg.systems[w.system].retriever, w.seed) if cfg.is_joint(w.system) else [],
        candidates=lambda w: searches(w.system, w.seed)[: int(w.round)][-1:],
        previous=lambda w: trained(w.system, w.seed, int(w.round) - 1) if int(w.round) > 1 else [],
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
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 1440 * attempt,
    params:
        code=stage_digest("train"),
        llm=lambda w: option("--llm", model(cfg.systems[w.system].llm, w.seed)),
        retriever=lambda w: option("--retriever", training_retriever(w.system, w.seed, int(w.round))),
        candidates=lambda w, input: option("--candidates", input.candidates),
        previous=lambda w, input: option("--previous", input.previous),
        rounds=lambda w: cfg.systems[w.system].rounds,
        scratch="scratch/{run}/{system}/seed{seed}/r{round}/train",
        options=lambda w: flags(cfg.train_options(w.system), cfg.reading_options(w.system), cfg.retrieval),
    message:
        "train {wildcards.system}, seed {wildcards.seed}, round {wildcards.round}"
    shell:
        "OMP_NUM_THREADS={threads} jmlr train --out {output} --prepared {input.prepared} --seed {wildcards.seed}"
        " --round {wildcards.round} --rounds {params.rounds} --scratch {params.scratch}"
        " {params.llm} {params.retriever} {params.candidates} {params.previous} {params.options} 2> >(tee {log} >&2)"
