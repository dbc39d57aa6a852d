"""What a run would do, worked out before Snakemake builds its DAG; no Snakemake in here."""
