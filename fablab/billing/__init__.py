"""Prices, the append-only ledger, stock of material, and what people read about what they paid."""
