WORDS = {name: values(bm25=m.bm25.model_dump()) for name, m in cfg.models.items() if m.bm25}


rule index:
    input:
        vectors=lambda w: encoded(f"{RUN}/{w.origin}/r{w.round}/index"),
        prepared=lambda w: [] if encoded(f"{RUN}/{w.origin}/r{w.round}/index") else "results/{run}/prepare",
    output:
        directory("results/{run}/{origin}/r{round}/index"),
    log:
        "logs/{run}/{origin}/r{round}/index.log",
    benchmark:
        "benchmarks/rules/{run}/{origin}/r{round}/index.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: megabytes("index", 1500, attempt),
        runtime=lambda wildcards, attempt: minutes("index", 60, attempt),
    params:
        code=lambda w: stage_digest("index", retriever=KINDS[named(w.origin)[0]]),
        vectors=lambda w, input: words("--vectors", input.vectors),
        prepared=lambda w, input: words("--prepared", input.prepared),
        values=lambda w: WORDS.get(named(w.origin)[0]) or values(counted("index", cfg.index)),
        options=placed("logs/{run}/{origin}/r{round}/index.options.yaml"),
    message:
        "Retrieval: index the passages for {wildcards.origin} after round {wildcards.round}"
    shell:
        "OMP_NUM_THREADS={threads} jmlr index --out {output} {params.vectors} {params.prepared} --options {params.options} 2> >(tee -i {log} >&2)"
