rule fetch:
    input:
        files=lambda w: given(SOURCES.get(w.source, ""), cfg.sources[w.source].files),
    output:
        directory("results/{run}/fetch/{source}"),
    log:
        "logs/{run}/fetch/{source}.log",
    benchmark:
        "benchmarks/rules/{run}/fetch/{source}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: megabytes("fetch", 1500, attempt),
        runtime=lambda wildcards, attempt: minutes("fetch", 60, attempt),
    params:
        code=stage_digest("fetch"),
        local=lambda w: words("--local", SOURCES.get(w.source)),
        values=lambda w: values(counted("fetch", cfg.sources[w.source], *cfg.practice_prompts(w.source))),
        options=placed("logs/{run}/fetch/{source}.options.yaml"),
    message:
        "Data: bring the raw files of '{wildcards.source}' here and hold them against their checksums"
    shell:
        "OMP_NUM_THREADS={threads} jmlr fetch --out {output} --source {wildcards.source} {params.local} --options {params.options}"
        " 2> >(tee -i {log} >&2)"
