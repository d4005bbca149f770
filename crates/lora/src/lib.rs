//! Low-rank adapters on any linear layer of vit-models.
