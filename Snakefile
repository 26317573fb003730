# The workflow is workflow/Snakefile, where Snakemake's catalogue, snakedeploy and `module:` look for it; here it is found by a glance.
include: "workflow/Snakefile"


workflow.default_target = "all"  # an include's own default target does not count
