"""One metric per file, with its formula and source; one number per question, so that intervals can be had."""
