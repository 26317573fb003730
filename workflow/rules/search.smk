rule search:
    input:
        prepared="results/{run}/prepare",
        index=lambda w: [] if gathers(w.shard) else index_of(f"{RUN}/{w.origin}/r{w.round}"),
        queries=lambda w: [] if gathers(w.shard) else "results/{run}/{origin}/r{round}/encode/questions",
        parts=lambda w: expand("results/{{run}}/{{origin}}/r{{round}}/search{s}", s=SHARDS) if gathers(w.shard) else [],
    output:
        directory("results/{run}/{origin}/r{round}/search{shard}"),
    log:
        "logs/{run}/{origin}/r{round}/search{shard}.log",
    benchmark:
        "benchmarks/rules/{run}/{origin}/r{round}/search{shard}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: megabytes("search", 1500, attempt),
        runtime=lambda wildcards, attempt: minutes("search", 60, attempt),
    params:
        code=lambda w: stage_digest("search", retriever=KINDS[Path(w.origin).parts[0]]),
        index=lambda w, input: words("--index", input.index),
        queries=lambda w, input: words("--queries", input.queries),
        parts=lambda w, input: words("--parts", input.parts),
        shard=lambda w: re.sub(r"-(\d+)-of-", r"\1/", w.shard) or "0/1",
        values=lambda w: values(counted("search", cfg.search)),
        options="logs/{run}/{origin}/r{round}/search{shard}.options.yaml",
    message:
        "Retrieval: for every question its C = {cfg.search.candidates} passages with the largest inner product or MaxSim,"
        " by {wildcards.origin} after round {wildcards.round} (part {params.shard})"
    shell:
        "OMP_NUM_THREADS={threads} jmlr search --out {output} --prepared {input.prepared}"
        " {params.index} {params.queries} {params.parts} --shard {params.shard} --options {params.options} 2> >(tee -i {log} >&2)"
