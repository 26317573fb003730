rule prepare:
    input:
        fetched=FETCHED,
    output:
        directory("results/{run}/prepare"),
    log:
        "logs/{run}/prepare.log",
    benchmark:
        "benchmarks/rules/{run}/prepare.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: megabytes("prepare", 2000, attempt),
        runtime=lambda wildcards, attempt: minutes("prepare", 60, attempt),
    params:
        code=lambda w: stage_digest("prepare", cfg.prepared()),
        values=lambda w: values(counted("prepare", cfg.prepared(), *cfg.practice_prompts())),
        options=placed("logs/{run}/prepare.options.yaml"),
    message:
        "Corpus: passages, questions and reading documents of all sources in one schema, cut, deduplicated, split"
    shell:
        "OMP_NUM_THREADS={threads} jmlr prepare --out {output} --fetched {input.fetched} --options {params.options} 2> >(tee -i {log} >&2)"
