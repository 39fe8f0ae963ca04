"""What a recipe will need and bring on a GPU, before an hour of it is paid for: memory, sequences, rates, cost."""
