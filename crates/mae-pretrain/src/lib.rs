//! Masked auto-encoder pre-training of vision transformers on candle.
