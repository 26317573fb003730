rule pretrain:
    input:
        prepared="results/{run}/prepare",
        fetched=lambda w: tokenizer_source(w.model),
        init=lambda w: initial(w.model, w.seed)[0],
    output:
        directory("results/{run}/{model}/seed{seed}/pretrain"),
    log:
        "logs/{run}/{model}/seed{seed}/pretrain.log",
    benchmark:
        "benchmarks/rules/{run}/{model}/seed{seed}/pretrain.tsv"
    conda:
        TORCH_ENV
    threads: 1
    resources:
        gpu=0,
        nodes=1,
        mem_mb=lambda wildcards, attempt: megabytes("pretrain", 3000, attempt),
        runtime=lambda wildcards, attempt: minutes("pretrain", 480, attempt),
    params:
        code=lambda w: stage_digest("pretrain", PRETRAINED[w.model], retriever=KINDS[w.model]),
        fetched=lambda w: words("--fetched", [placed(folder) for folder in tokenizer_source(w.model)]),
        launch=lambda w, resources, threads: launch(
            gpus=resources.gpu, nodes=resources.nodes, threads=threads, one=PRETRAINED[w.model].objective != "causal"
        ),
        scratch=placed("scratch/{run}/{model}/seed{seed}/pretrain"),
        values=lambda w: values(
            counted("pretrain", PRETRAINED[w.model].model_copy(update={"init": initial(w.model, w.seed)[1]}))
        ),
        options=placed("logs/{run}/{model}/seed{seed}/pretrain.options.yaml"),
    message:
        "Models: pre-train the {wildcards.model} on the run's own text, seed {wildcards.seed}"
    shell:
        "{params.launch} jmlr pretrain --out {output} --prepared {input.prepared} {params.fetched} --seed {wildcards.seed}"
        " --scratch {params.scratch} --options {params.options} 2> >(tee -i {log} >&2)"
