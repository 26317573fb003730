JUDGED = [f"{RUN}/judge"] if cfg.judge.judges else []
COMPARED = list(dict.fromkeys(name for pair in cfg.judge.pairs for name in pair))
JUDGES = {k: cfg.endpoint(k) or model(k, cfg.seeds[0]) for k in cfg.judge.judges}


rule judge:
    input:
        prepared="results/{run}/prepare",
        answers=[f"{RUN}/{system}/seed{cfg.seeds[0]}/answer" for system in COMPARED],
        models=[model_input(k, cfg.seeds[0]) for k in cfg.judge.judges],
    output:
        directory("results/{run}/judge"),
    log:
        "logs/{run}/judge.log",
    benchmark:
        "benchmarks/rules/{run}/judge.tsv"
    conda:
        TORCH_ENV
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: megabytes("judge", 2000, attempt),
        runtime=lambda wildcards, attempt: minutes("judge", 480, attempt),
    params:
        code=stage_digest("judge"),
        seed=cfg.seeds[0],
        values=lambda w: values(counted("judge", cfg.judge), models=JUDGES),
        options=placed("logs/{run}/judge.options.yaml"),
    message:
        "let language models compare systems' answers in pairs"
    shell:
        "OMP_NUM_THREADS={threads} jmlr judge --out {output} --prepared {input.prepared} --answers {input.answers}"
        " --seed {params.seed} --options {params.options} 2> >(tee -i {log} >&2)"
