rule encode:
    input:
        prepared="results/{run}/prepare",
        retriever=lambda w: retriever(w.origin, w.round)[0],
    output:
        directory("results/{run}/{origin}/r{round}/encode/{part}"),
    log:
        "logs/{run}/{origin}/r{round}/encode/{part}.log",
    benchmark:
        "benchmarks/rules/{run}/{origin}/r{round}/encode/{part}.tsv"
    conda:
        TORCH_ENV
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: megabytes("encode", 1500, attempt),
        runtime=lambda wildcards, attempt: minutes("encode", 240, attempt),
    params:
        code=lambda w: stage_digest("encode", retriever=KINDS[named(w.origin)[0]]),
        retriever=lambda w: words("--retriever", retriever(w.origin, w.round)[1]),
        part=lambda w: w.part.split("-")[0],
        shard=lambda w: re.sub(r"passages-(\d+)-of-", r"\1/", w.part) if "-" in w.part else "0/1",
        values=lambda w: values(counted("encode", cfg.encode, cfg.retrieval)),
        options=placed("logs/{run}/{origin}/r{round}/encode/{part}.options.yaml"),
    message:
        "Retrieval: encode {wildcards.part} with the retriever of {wildcards.origin} after round {wildcards.round}"
    shell:
        "OMP_NUM_THREADS={threads} jmlr encode --out {output} --prepared {input.prepared} {params.retriever}"
        " --part {params.part} --shard {params.shard} --options {params.options} 2> >(tee -i {log} >&2)"
