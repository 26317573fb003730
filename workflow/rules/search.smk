rule search:
    input:
        prepared="results/{run}/prepare",
        index=lambda w: index_of(f"{RUN}/{w.origin}/r{w.round}"),
        queries="results/{run}/{origin}/r{round}/encode/questions",
    output:
        directory("results/{run}/{origin}/r{round}/search"),
    log:
        "logs/{run}/{origin}/r{round}/search.log",
    benchmark:
        "benchmarks/rules/{run}/{origin}/r{round}/search.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        code=stage_digest("search"),
        options=lambda w: flags(cfg.search),
    message:
        "find the best passages of every question, {wildcards.origin}, round {wildcards.round}"
    shell:
        "OMP_NUM_THREADS={threads} jmlr search --out {output} --prepared {input.prepared} --index {input.index}"
        " --queries {input.queries} {params.options} 2> >(tee {log} >&2)"
