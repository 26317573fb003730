rule evaluate:
    input:
        prepared="results/{run}/prepare",
        answers="results/{run}/{system}/seed{seed}/answer",
        searches=lambda w: searches(w.system, w.seed),
    output:
        directory("results/{run}/{system}/seed{seed}/evaluate"),
    log:
        "logs/{run}/{system}/seed{seed}/evaluate.log",
    benchmark:
        "benchmarks/rules/{run}/{system}/seed{seed}/evaluate.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: megabytes("evaluate", 1500, attempt),
        runtime=lambda wildcards, attempt: minutes("evaluate", 60, attempt),
    params:
        code=stage_digest("evaluate"),
        searches=lambda w, input: words("--searches", input.searches),
        boards=lambda w, resources: [  # with `resources`: for people, so no reason to measure again
            words(f"--{name}", getattr(cfg.train_options(w.system), name)) for name in ("wandb", "mlflow")
        ],
        values=lambda w: values(counted("evaluate", cfg.evaluate)),
        options=placed("logs/{run}/{system}/seed{seed}/evaluate.options.yaml"),
    message:
        "Test: accuracy and retrieval of {wildcards.system}, seed {wildcards.seed}, with 95 % intervals over questions"
    shell:
        "OMP_NUM_THREADS={threads} jmlr evaluate --out {output} --prepared {input.prepared} --answers {input.answers}"
        " {params.searches} --name {wildcards.run} --system {wildcards.system} --seed {wildcards.seed} {params.boards} --options {params.options} 2> >(tee -i {log} >&2)"
