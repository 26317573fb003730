rule rerank:
    input:
        unpack(lambda w: reads(f"{RUN}/{w.origin}/r{w.round}/rerank{w.depth}")),
        prepared="results/{run}/prepare",
        model=lambda w: given(RERANKERS[named(w.origin)[0]]),
    output:
        directory("results/{run}/{origin}/r{round}/rerank{depth}"),
    log:
        "logs/{run}/{origin}/r{round}/rerank{depth}.log",
    benchmark:
        "benchmarks/rules/{run}/{origin}/r{round}/rerank{depth}.tsv"
    conda:
        TORCH_ENV
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: megabytes("rerank", 1500, attempt),
        runtime=lambda wildcards, attempt: minutes("rerank", 480, attempt),
    params:
        code=lambda w: stage_digest("rerank"),
        model=lambda w: words("--model", RERANKERS[named(w.origin)[0]]),
        candidates=lambda w: passages_at(w.depth),
        query_options="" if cfg.retrieval.query_options else "--no-query-options",
        values=lambda w: values(
            counted("rerank", cfg.models[named(w.origin)[0]].rerank), without=["of", "path", "depth"]
        ),
        options=placed("logs/{run}/{origin}/r{round}/rerank{depth}.options.yaml"),
    message:
        "Retrieval: a cross-encoder reads each passage of {input.search} with the question, and orders them anew"
    shell:
        "OMP_NUM_THREADS={threads} jmlr rerank --out {output} --prepared {input.prepared} --search {input.search} {params.model}"
        " --candidates {params.candidates} {params.query_options} --options {params.options} 2> >(tee -i {log} >&2)"
