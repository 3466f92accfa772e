"""Language models: providers, prices, budgets, retries, and recordings of replies."""
