rule index:
    input:
        vectors=expand("results/{{run}}/{{origin}}/r{{round}}/encode/{part}", part=PARTS),
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
        code=lambda w: stage_digest("index", retriever=KINDS[Path(w.origin).parts[0]]),
        values=lambda w: values(counted("index", cfg.index)),
        options="logs/{run}/{origin}/r{round}/index.options.yaml",
    message:
        "Retrieval: index the vectors of {wildcards.origin} after round {wildcards.round} for exact search ({cfg.index.storage})"
    shell:
        "OMP_NUM_THREADS={threads} jmlr index --out {output} --vectors {input.vectors} --options {params.options} 2> >(tee -i {log} >&2)"
