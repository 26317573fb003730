RRF_K = {name: str(m.fusion.rrf_k) for name, m in cfg.models.items() if m.fusion}


rule search:
    input:
        unpack(lambda w: reads(f"{RUN}/{w.origin}/r{w.round}/search{w.depth}{w.shard}")),
        prepared="results/{run}/prepare",
    output:
        directory("results/{run}/{origin}/r{round}/search{depth}{shard}"),
    log:
        "logs/{run}/{origin}/r{round}/search{depth}{shard}.log",
    benchmark:
        "benchmarks/rules/{run}/{origin}/r{round}/search{depth}{shard}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: megabytes("search", 1500, attempt),
        runtime=lambda wildcards, attempt: minutes("search", 60, attempt),
    params:
        code=lambda w: stage_digest("search", retriever=KINDS[named(w.origin)[0]]),
        reads=lambda w, input: " ".join(words(f"--{k}", v) for k, v in input.items() if k != "prepared"),
        rrf_k=lambda w: words("--rrf-k", RRF_K.get(named(w.origin)[0])),
        query_options="" if cfg.retrieval.query_options else "--no-query-options",
        candidates=lambda w, resources: cfg.search.candidates,  # with `resources`: for people, so no reason to search again
        shard=lambda w: re.sub(r"-(\d+)-of-", r"\1/", w.shard) or "0/1",
        values=lambda w: values(counted("search", cfg.search.model_copy(update={"candidates": passages_at(w.depth)}))),
        options=placed("logs/{run}/{origin}/r{round}/search{depth}{shard}.options.yaml"),
    message:
        "Retrieval: for every question its best passages, C = {params.candidates} or more,"
        " by {wildcards.origin} after round {wildcards.round} (part {params.shard})"
    shell:
        "OMP_NUM_THREADS={threads} jmlr search --out {output} --prepared {input.prepared}"
        " {params.reads} {params.rrf_k} {params.query_options} --shard {params.shard} --options {params.options} 2> >(tee -i {log} >&2)"
