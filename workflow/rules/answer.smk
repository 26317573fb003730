rule answer:
    input:
        prepared="results/{run}/prepare",
        llm=lambda w: model_input(cfg.systems[w.system].llm, w.seed),
        trained=lambda w: [trained(w.system, w.seed, n) for n in [cfg.systems[w.system].rounds] if n],
        candidates=lambda w: searches(w.system, w.seed)[-1:] if cfg.reads(w.system) else [],
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
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 480 * attempt,
    params:
        code=stage_digest("answer"),
        llm=lambda w: option("--llm", model(cfg.systems[w.system].llm, w.seed)),
        endpoint=lambda w: option("--endpoint", cfg.endpoint_json(cfg.systems[w.system].llm)),
        trained=lambda w, input: option("--trained", input.trained),
        candidates=lambda w, input: option("--candidates", input.candidates),
        passages=lambda w: cfg.reads(w.system),
        options=lambda w: flags(cfg.answer_options(w.system), cfg.reading_options(w.system)),
    message:
        "answer the questions with {wildcards.system}, seed {wildcards.seed}"
    shell:
        "OMP_NUM_THREADS={threads} jmlr answer --out {output} --prepared {input.prepared} {params.llm} {params.endpoint}"
        " {params.trained} {params.candidates} --passages {params.passages} {params.options} 2> >(tee {log} >&2)"
